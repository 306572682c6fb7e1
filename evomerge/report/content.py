"""A report as data: the JSON file, and what the HTML page carries for those who want to compute."""

import json
from typing import Any

from pydantic_core import to_json

from evomerge import __version__
from evomerge.recipe import to_config
from evomerge.report.data import ReportData


def report_content(data: ReportData) -> dict[str, Any]:
    """Everything that the page shows, as JSON knows it; NaN and infinity are null."""
    search, results, spending = data.search, data.results, data.insight.spending
    content = {
        "evomerge": __version__,
        "search": {
            "id": search.id,
            "name": search.name,
            "status": search.status,
            "created_at": search.created_at,
            "updated_at": search.updated_at,
            "versions": search.versions,
            "spec": search.spec,
        },
        "sentence": results.sentence,
        "results": results,
        "recipe": None if results.recipe is None else to_config(results.recipe),
        "heat_maps": data.maps,
        "stack": [{"model": model, "layers": layers} for model, layers in data.stack],
        "baselines": [{"label": name, "search_fitness": value} for name, value in data.baselines],
        "history": data.insight.history,
        "importance": data.insight.importance,
        "spending": {
            "seconds": spending.seconds,
            "busy": spending.busy,
            "workers": spending.workers,
            "tokens": spending.tokens,
            "wall_seconds": data.wall_seconds,
        },
        "documents": {"saved": spending.documents.saved, **vars(spending.documents)},
        "failures": data.failures,
    }
    plain: dict[str, Any] = json.loads(to_json(content, inf_nan_mode="null"))
    if results.optimism is not None:
        plain["results"]["optimism"]["sentence"] = results.optimism.sentence
    return plain


def embedded(data: ReportData) -> str:
    """The content for a script element of type application/json: no text in it can end the element."""
    written = json.dumps(report_content(data), ensure_ascii=False, separators=(",", ":"))
    return written.replace("<", "\\u003c")
