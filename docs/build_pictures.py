"""Draws what each merge method does to one row of entries: `python docs/build_pictures.py`.

Two fine-tunes of one base change 24 entries: those on the left mostly the one, those on the right mostly
the other; in the middle both change four entries the same way and three against each other. The merge is
evomerge's own (`merge_tensors` on checkpoints of one tensor), so a picture shows what the code does and
not what somebody believes it does. Methods that need texts, make a model of another shape, or learn are
drawn by build_data_pictures.py.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from evomerge.merging.merge import merge_tensors
from evomerge.methods import METHODS, Method
from evomerge.recipe import Recipe, Source, constant

FOLDER = Path(__file__).parent / "pictures" / "methods"
ENTRIES = 24
TENSOR = "model.layers.0.mlp.down_proj.weight"
SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"weight": 0.5},
    "slerp": {"t": 0.5},
    "nuslerp": {"weight": 0.5},
    "multislerp": {"weight": 0.5},
    "mlerp": {"weight": 0.5},
    "task_arithmetic": {"weight": 1.0},
    "ties": {"weight": 1.0, "density": 0.5},
    "dare_linear": {"weight": 0.5, "density": 0.5},
    "dare_ties": {"weight": 1.0, "density": 0.5},
    "della": {"weight": 1.0, "density": 0.5, "epsilon": 0.3},
    "della_linear": {"weight": 0.5, "density": 0.5, "epsilon": 0.3},
    "breadcrumbs": {"weight": 0.5, "density": 0.6, "gamma": 0.1},
    "breadcrumbs_ties": {"weight": 1.0, "density": 0.6, "gamma": 0.1},
    "sce": {"select_topk": 0.5},
    "ramplus_tl": {"r": 0.3, "alpha": 0.5, "epsilon": 0.2},
    "ram": {"epsilon": 0.2},
    "nearswap": {"t": 0.2},
    "passthrough": {"scale": 1.5},
}
"""Parameters of each picture; methods that are not named here are drawn at their defaults."""
_WIDTH, _ROW, _LEFT, _GAP = 720, 62, 120, 10
POSITIVE, NEGATIVE, INK, FAINT = "#0072b2", "#d55e00", "#59636e", "#b8c1ca"

Row = NDArray[np.float64]


def drawn(method: Method) -> bool:
    """Whether this file draws a method."""
    return method.statistics is None and not method.rebuilds and not method.learned


def changes() -> tuple[Row, Row, Row]:
    """The base's entries, and what the fine-tunes A and B change, [ENTRIES] each."""
    rng = np.random.default_rng(6)
    loud, soft = rng.normal(0, 1.0, (2, ENTRIES)), rng.normal(0, 0.12, (2, ENTRIES))
    place = np.arange(ENTRIES)
    first = np.where(place < 15, loud[0], soft[0])
    second = np.where(place >= 8, loud[1], soft[1])
    second[8:12] = np.sign(first[8:12]) * np.abs(second[8:12])
    second[12:15] = -np.sign(first[12:15]) * np.abs(second[12:15])
    first[8:12] *= 2.0
    return rng.normal(0, 1.0, ENTRIES), first, second


def recipe(method: Method) -> Recipe:
    """The method over the example's models, at the picture's parameters."""
    settings = SETTINGS.get(method.name, {})
    single = method.max_models == 1 or method.base == "endpoint"
    models = ["base", "a"] if method.base == "endpoint" else ["a"] if single else ["a", "b"]
    per_model = {p.name for p in method.parameters if p.per_model}
    own = {name: constant(value) for name, value in settings.items() if name in per_model}
    shared = {name: constant(value) for name, value in settings.items() if name not in per_model}
    return Recipe(
        merge_method=method.name,
        base_model=None if method.base == "optional" else "base",
        models=tuple(Source(model=name, parameters=own) for name in models),
        parameters=shared,
    )


def merged(method: Method) -> Row:
    """What the method changes of the base's entries."""
    base, first, second = changes()
    weights = {"base": base, "a": base + first, "b": base + second}
    with tempfile.TemporaryDirectory() as place:
        folders = {name: _save(Path(place) / name, row) for name, row in weights.items()}
        found = dict(merge_tensors(recipe(method), folders))
    row: Row = found[TENSOR].double().numpy().reshape(-1) - base
    return row


def _save(folder: Path, row: Row) -> Path:
    folder.mkdir()
    # One column an entry: what is trimmed by rows sees all of them.
    save_file(
        {TENSOR: torch.tensor(row, dtype=torch.float32)[None, :]}, folder / "model.safetensors"
    )
    config = {"model_type": "llama", "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def caption(method: Method) -> str:
    """The picture in words, for those who cannot see it."""
    given = ", ".join(f"{k} {v:g}" for k, v in SETTINGS.get(method.name, {}).items())
    kept = int((np.abs(merged(method)) > 1e-6).sum())
    return (
        f"What {method.name}{f' ({given})' if given else ''} makes of changes to {ENTRIES} entries: "
        f"{kept} of them end up different from the base"
    )


def picture(method: Method) -> str:
    """The drawing as SVG: each model's changes to the base, and the merge's."""
    _, first, second = changes()
    used = {source.model for source in recipe(method).models}
    rows = [("A − base", first)] * ("a" in used) + [("B − base", second)] * ("b" in used)
    rows.append(("merge − base", merged(method)))
    height = _ROW * len(rows) + _GAP
    body = [line for place, (name, row) in enumerate(rows) for line in bars(place, name, row)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{caption(method)}</title>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def bars(place: int, name: str, row: Row) -> Iterator[str]:
    """One model's changes, as one row of the picture."""
    middle = _GAP + place * _ROW + _ROW / 2 - 4
    step = (_WIDTH - _LEFT - _GAP) / ENTRIES
    weight = ' font-weight="600"' if name.startswith("merge") else ""
    yield f'<text x="4" y="{middle + 4:g}" fill="{INK}"{weight}>{name}</text>'
    yield f'<path d="M{_LEFT} {middle:g}H{_WIDTH - _GAP}" stroke="{FAINT}"/>'
    for number, value in enumerate(row):
        tall = min(abs(value) * 11, _ROW / 2 - 3)
        if tall < 0.05:
            continue
        top, fill = (middle - tall, POSITIVE) if value > 0 else (middle, NEGATIVE)
        x = _LEFT + number * step + 3
        yield f'<rect x="{x:.1f}" y="{top:.1f}" width="{step - 6:.1f}" height="{tall:.1f}" fill="{fill}"/>'


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for method in METHODS.values():
        if drawn(method):
            (FOLDER / f"{method.name}.svg").write_text(picture(method), encoding="utf-8")


if __name__ == "__main__":
    main()
