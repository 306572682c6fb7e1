"""What a search found: the winner beside every baseline, with intervals, from the store alone.

One place for the command line, the report and programs. The winner is the search's candidate that
was scored on the test split; where a search has none, or has not got so far, the best candidate up to
now stands in and a note says what its scores are worth. With several objectives there is a front
beside it. `optimism` says how far the search score itself can be trusted.
"""

from evomerge.results.read import (
    find_winner,
    is_baseline,
    label_of,
    read_references,
    read_results,
    read_table,
    scored_by_split,
)
from evomerge.results.types import Front, Member, Optimism, Results, Row

__all__ = [
    "Front",
    "Member",
    "Optimism",
    "Results",
    "Row",
    "find_winner",
    "is_baseline",
    "label_of",
    "read_references",
    "read_results",
    "read_table",
    "scored_by_split",
]
