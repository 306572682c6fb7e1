"""One line of `doctor`."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["OK", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""
