"""Everything that can be wrong with a search, found before anything is written.

Configs, headers, tokenizers, tasks and the machine are looked at; all problems are reported
together, each with its remedy. Weights are read last, and only to look for NaN and infinity.
"""

from evomerge.preflight.checks import PreflightReport, preflight
from evomerge.preflight.fingerprint import fingerprint

__all__ = ["PreflightReport", "fingerprint", "preflight"]
