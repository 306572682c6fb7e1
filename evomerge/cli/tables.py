"""Results of a search as a table or as JSON; used by `run`, `resume`, `demo` and `watch`."""

from collections.abc import Callable, Iterator
from typing import Any

from evomerge.bootstrap import Estimate
from evomerge.cli.output import Format, plain, print_json, print_table, stdout
from evomerge.results import Front, Results, Row


def print_results(results: Results, format: Format) -> None:
    """Every row with its intervals, the sentence, the notes."""
    if format is Format.JSON:
        print_json(results_json(results))
        return
    counts = ", ".join(f"{n} {task}" for task, n in results.documents.items())
    title = f"{results.split.value} documents: {counts}; in brackets: 95 % intervals"
    whole = {"fitness": _fitness, "winner's lead": _lead}
    columns = {**whole, **{_task_title(results, t): _task_cell(t) for t in results.metrics}}
    for place, part in enumerate(_fitting(columns, results, stdout().width)):
        print_table(
            ["", *part],
            [[_name(row, results), *(cell(row) for cell in part.values())] for row in results.rows],
            title=None if place else title,
            right=part,
            bold=next((i for i, row in enumerate(results.rows) if row is results.winner), None),
        )
        stdout().print()
    if results.front is not None:
        _print_front(results.front)
    trust = results.optimism.sentence if results.optimism else ""
    for line in (results.sentence, *([trust] if trust else []), *results.notes):
        stdout().print(line, markup=False, soft_wrap=True)


def _print_front(front: Front) -> None:
    """The members beside their scores and the baselines that they beat."""
    tasks = list(front.documents)
    title = f"The front on {front.split.value} documents; in brackets: 95 % intervals"
    every = len(front.rivals)
    rows = [
        [
            member.row.label,
            *(interval(member.row.scores[task]) for task in tasks),
            "every baseline" if len(member.beats) == every else ", ".join(member.beats) or "none",
        ]
        for member in front.members[:_MEMBERS]
    ]
    print_table(["", *tasks, "beats in everything"], rows, title=title, right=tasks)
    if len(front.members) > _MEMBERS:
        stdout().print(f"… and {len(front.members) - _MEMBERS} more")
    stdout().print()


Cell = Callable[[Row], str]
_MEMBERS = 20
_COLUMN = len("0.000 [0.000, 0.000]") + 2


def _fitting(columns: dict[str, Cell], results: Results, width: int) -> Iterator[dict[str, Cell]]:
    """The columns, cut into tables that fit the terminal."""
    names = max((len(_name(row, results)) for row in results.rows), default=0)
    each = max(2, (width - names) // (_COLUMN + 2))
    items = list(columns.items())
    for start in range(0, len(items), each):
        yield dict(items[start : start + each])


def _name(row: Row, results: Results) -> str:
    won = "→ " if row is results.winner else ""
    return f"{won}{row.label}{' (misses a constraint)' if row.violation else ''}"


def _task_title(results: Results, task: str) -> str:
    return f"{task} ({results.metrics[task]})"


def _task_cell(task: str) -> Cell:
    return lambda row: interval(row.scores[task])


def _fitness(row: Row) -> str:
    return interval(row.fitness)


def _lead(row: Row) -> str:
    return "" if row.lead is None else interval(row.lead, signed=True)


def interval(estimate: Estimate, *, signed: bool = False) -> str:
    """`0.612 [0.58, 0.64]`."""
    form = "+.3f" if signed else ".3f"
    if estimate.low is None or estimate.high is None:
        return format(estimate.value, form)
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def results_json(results: Results) -> dict[str, Any]:
    """Results for programs; the recipe is mergekit's configuration."""
    from evomerge.recipe import to_config

    content: dict[str, Any] = plain(results)
    content["recipe"] = None if results.recipe is None else to_config(results.recipe)
    best = results.best_baseline
    return {
        **content,
        "best_baseline": None if best is None else best.label,
        "sentence": results.sentence,
        "optimism_sentence": results.optimism.sentence if results.optimism else None,
    }
