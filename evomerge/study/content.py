"""A study as data: what `--format json` prints, and what the page carries for those who compute on."""

import json
from typing import Any

from pydantic_core import to_json

from evomerge import __version__
from evomerge.study.run import StudyResult
from evomerge.study.tables import Tables


def study_content(result: StudyResult, tables: Tables) -> dict[str, Any]:
    """Everything that the tables show, and each model's score on each task; NaN is null."""
    content = {
        "evomerge": __version__,
        "study": result.spec,
        "versions": {base.base.title: base.versions for base in result.bases},
        "parameters": tables.parameters,
        "measures": tables.rows,
        "relations": tables.relations,
        "costs": tables.costs,
        "prerequisites": tables.prerequisites,
        "failures": [{"merge": name, "why": why} for name, why in tables.failures],
        "scores": tables.task_scores,
        "recipes": [
            {
                "base": base.base.label,
                "training": base.base.training,
                "method": cell.cell.entry.label,
                "experts": [place + 1 for place in cell.cell.places],
                "seed": cell.cell.seed,
                "recipe": None if cell.choice is None else cell.choice.recipe.canonical_json(),
            }
            for base in result.bases
            for cell in base.cells
        ],
    }
    plain: dict[str, Any] = json.loads(to_json(content, inf_nan_mode="null"))
    return plain
