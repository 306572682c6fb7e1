"""Text that both databases take: PostgreSQL refuses NUL, and neither stores lone surrogates."""

LONGEST = 20_000


def clean(text: str | None) -> str | None:
    """`text` without what a database cannot store; very long ones keep their two ends."""
    if text is None:
        return None
    valid = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")
    if len(valid) <= LONGEST:
        return valid
    half = LONGEST // 2
    return f"{valid[:half]}\n…\n{valid[-half:]}"
