"""A study's tables in the terminal."""

from evomerge.bootstrap import Estimate
from evomerge.cli.output import print_table
from evomerge.study.measures import MEASURES
from evomerge.study.run import StudyResult
from evomerge.study.tables import Tables


def print_study(result: StudyResult) -> None:
    """Every method on every size of subset."""
    tables = Tables(result)
    rows = [
        (
            row.base,
            row.label,
            row.size or "",
            *(interval(row.measures.get(role)) for role in MEASURES),
        )
        for row in tables.rows
    ]
    print_table(("base", "method", "experts", *MEASURES), rows, title=result.spec.name)


def interval(estimate: Estimate | None) -> str:
    """`0.93 [0.91, 0.95]`, or nothing."""
    if estimate is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
