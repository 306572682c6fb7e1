"""Takes secrets out of text before anybody can read it: logs, errors, labels.

Three ways to know a secret: by where it stands (the password of a URL), by the word before it
(`token=`, `Bearer`), and by its value, where a variable of this process's environment holds it.
"""

import os
import re
from collections.abc import Iterable

HIDDEN = "***"
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^\s/]+)@")
_NAMED = re.compile(
    r"(?i)\b((?:[\w-]*(?:password|passwd|secret|token|api[_-]?key)[\w-]*)[\"']?\s*[=:]\s*[\"']?)"
    r"(?:bearer\s+)?([^\s\"',;&}]+)"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w~+/.=-]{8,}")
_SECRET_VARIABLE = re.compile(r"(?i)(password|passwd|secret|token|api_?key)")
_SHORTEST = 8


def redact(text: str) -> str:
    """The text with `***` in place of what looks like a secret."""
    for secret in _known_secrets():
        text = text.replace(secret, HIDDEN)
    text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _BEARER.sub(rf"\1 {HIDDEN}", text)
    return _NAMED.sub(rf"\1{HIDDEN}", text)


def _known_secrets() -> Iterable[str]:
    """Values of variables whose names say that they are secret; longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST and "/" not in value
    }
    return sorted(found, key=len, reverse=True)
