"""Draws what merge methods with statistics, permutations or learned coefficients do:
`python docs/build_data_pictures.py`.

Every merge is evomerge's own (`merge_tensors` on checkpoints of a few entries). What would be measured or
learned is made by hand here: statistics and coefficients are written where the code looks for them. So the
pictures show what a method makes of what it is told, and nothing about language models.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from build_pictures import FAINT, FOLDER, INK, NEGATIVE, POSITIVE, TENSOR, bars, changes
from numpy.typing import NDArray
from safetensors.torch import save_file

from evomerge.calibration.recipes import requests_for
from evomerge.calibration.sets import Example, make_set
from evomerge.calibration.store import StatisticStore
from evomerge.fingerprint import fingerprint
from evomerge.layout import read_index
from evomerge.merging.dam.coefficients import Learned
from evomerge.merging.merge import merge_tensors
from evomerge.methods import METHODS
from evomerge.recipe import Calibration, Recipe, Source, constant

Array = NDArray[np.float64]
Weights = Mapping[str, Any]
"""Tensors by name, as anything that torch takes."""
Statistic = Mapping[str, Mapping[str, Any]]
"""By model the values of one statistic, by tensor; a crosswise one by `model on owner`."""
_CONFIG = {"model_type": "llama", "num_hidden_layers": 1}
_WIDTH = 720


@contextmanager
def example(
    models: Mapping[str, Weights], config: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Path]]:
    """Checkpoints of these models, in a folder that statistics and caches are kept in as well."""
    with tempfile.TemporaryDirectory() as place:
        homes = ("EVOMERGE_CALIBRATION", "XDG_CACHE_HOME", "XDG_DATA_HOME")
        with patch.dict("os.environ", {home: str(Path(place) / home) for home in homes}):
            folders = {name: Path(place) / name for name in models}
            for name, folder in folders.items():
                folder.mkdir()
                save_file(_tensors(models[name]), folder / "model.safetensors")
                text = json.dumps({**_CONFIG, **(config or {})})
                (folder / "config.json").write_text(text, encoding="utf-8")
            yield folders


def merge(
    method: str, folders: Mapping[str, Path], statistics: Mapping[str, Statistic], **given: Any
) -> dict[str, Array]:
    """The merge of all models but `base`, by tensor.

    given: parameters; `coefficients` is the recipe's own.
    """
    coefficients = given.pop("coefficients", None)
    declared = METHODS[method]
    needs_base = "base" in folders and declared.base == "required"
    recipe = Recipe(
        merge_method=method,
        base_model="base" if needs_base else None,
        models=tuple(Source(model=name) for name in folders if name != "base"),
        parameters={name: constant(value) for name, value in given.items()},
        calibration=Calibration(data=_publish(folders, statistics)) if statistics else None,
        coefficients=coefficients,
        dtype="float32",
    )
    return {name: x.double().numpy() for name, x in merge_tensors(recipe, folders)}


def _publish(folders: Mapping[str, Path], statistics: Mapping[str, Statistic]) -> str:
    """Statistics as if they had been measured; the name of the texts that they are of."""
    names = [name for name in folders if name != "base"]
    texts = make_set([], {name: [Example(name)] for name in names}, examples=1, max_length=8)
    prints = {name: fingerprint(read_index(folders[name])) for name in names}
    store = StatisticStore()
    for request in requests_for(tuple(statistics), texts, prints):
        found = statistics[request.statistic]
        crosswise = f"{request.model} on {request.owner}"
        values = _tensors(found[crosswise] if crosswise in found else found[request.model])
        store.work(request).mkdir(parents=True)
        save_file(values, store.work(request) / "part-00000.safetensors")
        moments = {name: _moments(value) for name, value in values.items()}
        about = {"ids": "by hand", "examples": 1, "tokens": 1, "seconds": 0.0, "notes": {}}
        store.finish(request, {**about, "moments": moments, "counts": dict.fromkeys(values, 1)})
    return texts.save()


def _moments(value: torch.Tensor) -> list[float]:
    wide = value.double()
    trace = float(wide.diagonal().sum()) if wide.dim() == 2 else 0.0
    return [float(wide.sum()), float(wide.square().sum()), trace]


def _tensors(weights: Weights) -> dict[str, torch.Tensor]:
    found = {n: torch.as_tensor(np.array(x), dtype=torch.float32) for n, x in weights.items()}
    return {name: x.contiguous() for name, x in found.items()}


# A linear layer with two inputs and one output, as a point in the plane.

_A, _B = np.array([1.5, 0.4]), np.array([0.3, 1.3])
_GRAM_A = np.array([[1.0, -0.75], [-0.75, 0.7]])
_GRAM_B = np.array([[0.35, 0.2], [0.2, 0.9]])
_FISHER_A, _FISHER_B = np.array([1.2, 0.1]), np.array([0.15, 0.8])
_UNIT, _LEFT, _LOW, _TALL = 150.0, 200.0, 300.0, 390.0


def plane_merge(method: str, statistic: str, values: Sequence[Array], **given: Any) -> Array:
    """Where the merge of A and B lies."""
    points = {"base": np.zeros(2), "a": _A, "b": _B}
    models = {name: {TENSOR: point[None, :]} for name, point in points.items()}
    known = {name: {TENSOR: value} for name, value in zip("ab", values, strict=True)}
    with example(models) as folders:
        return merge(method, folders, {statistic: known}, **given)[TENSOR].reshape(2)


def fisher() -> str:
    """Axis-parallel ellipses: Fisher information is kept for each entry by itself."""
    given = [_FISHER_A[None, :], _FISHER_B[None, :]]
    found = plane_merge("fisher", "fisher", given)
    body = [
        *_ellipses(np.diag(_FISHER_A), np.diag(_FISHER_B)),
        *_points({"average": (_A + _B) / 2}, found, "Fisher merge"),
    ]
    words = (
        "The plane of a layer's two weights. Along each ellipse a model loses equally much by what its "
        "diagonal Fisher information says: A is sure of the first weight, B of the second, and the merge "
        "has the one of A and the other of B, nearly. Fisher information made by hand."
    )
    return svg("fisher", "Fisher merging in the plane of two weights", words, _TALL, body)


def regmean() -> str:
    """Tilted ellipses: Gram matrices know which inputs come together."""
    found = plane_merge("regmean", "input_grams", [_GRAM_A, _GRAM_B], alpha=1.0)
    body = [
        *_ellipses(_GRAM_A, _GRAM_B),
        *_points({"average": (_A + _B) / 2}, found, "RegMean"),
    ]
    words = (
        "The plane of a layer's two weights. Along each ellipse the layer's outputs are equally far from a "
        "model's, on that model's inputs; tilted, as inputs come together. RegMean is where both distances "
        "together are least, the average is not. Drawn with alpha 1. Gram matrices made by hand."
    )
    return svg("regmean", "RegMean in the plane of two weights", words, _TALL, body)


def mats() -> str:
    """The way from the base, step by step."""
    steps = [
        plane_merge("mats", "input_grams", [_GRAM_A, _GRAM_B], start="base", iterations=count)
        for count in range(3)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(_place, steps))
    body = [
        *_ellipses(_GRAM_A, _GRAM_B),
        f'<polyline points="{line}" fill="none" stroke="{INK}" stroke-width="1.5"/>',
        *_points({"base": steps[0], "step 1": steps[1]}, steps[2], "step 2: MaTS"),
    ]
    words = (
        "The plane of a layer's two weights, with the ellipses of RegMean's picture. Conjugate gradients "
        "start at the base here and need as many steps as there are weights, two; stopped earlier, the merge "
        "stays near the start. Drawn with start base, iterations 0, 1, 2. Gram matrices made by hand."
    )
    return svg("mats", "The steps of MaTS in the plane of two weights", words, _TALL, body)


def _place(point: Array) -> tuple[float, float]:
    return _LEFT + _UNIT * point[0], _LOW - _UNIT * point[1]


def _ellipses(one: Array, other: Array) -> Iterator[str]:
    """Two contours around each model, and the models."""
    for name, middle, matrix, fill in (("A", _A, one, POSITIVE), ("B", _B, other, NEGATIVE)):
        sizes, axes = np.linalg.eigh(matrix)
        x, y = _place(middle)
        turn = np.degrees(np.arctan2(-axes[1, 0], axes[0, 0]))
        for loss in (0.02, 0.08):
            wide, tall = _UNIT * np.sqrt(loss / sizes)
            yield (
                f'<ellipse rx="{wide:.1f}" ry="{tall:.1f}" fill="none" stroke="{fill}" '
                f'transform="translate({x:.1f} {y:.1f}) rotate({turn:.1f})"/>'
            )
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}"/>'
        yield text(x + 9, y + 4, name)


def _points(others: Mapping[str, Array], merged: Array, name: str) -> Iterator[str]:
    """Rings for comparison, and a square for the merge."""
    for label, point in others.items():
        x, y = _place(point)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="none" stroke="{INK}" stroke-width="1.5"/>'
        yield text(x + 9, y + 14, label)
    x, y = _place(merged)
    yield f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{INK}"/>'
    yield text(x + 11, y - 4, name, bold=True)


# Sens-Merging: weights by layer, and what TIES and DARE make of deltas so weighed.

_SENSITIVITY = np.array([[6.0, 5.0, 3.0, 2.0, 1.5, 1.0], [1.0, 1.5, 2.5, 3.5, 5.0, 6.0]])
_LOGITS = {
    **{"a on a": 0.0, "b on b": 0.0, "a on b": 1.0, "b on a": 1.3},
}


def _sensed(layers: int) -> dict[str, Statistic]:
    """Sensitivities of both models' layers; logits that differ a little more for B."""
    names = [TENSOR.replace(".0.", f".{layer}.") for layer in range(layers)]
    given = dict(zip("ab", _SENSITIVITY, strict=True))
    felt = {model: dict(zip(names, row, strict=False)) for model, row in given.items()}
    logits = {pair: {"logits": np.full((1, 2), value)} for pair, value in _LOGITS.items()}
    return {"sensitivity": felt, "logits": logits}


def layer_weights(temperature: float) -> Array:
    """[2, layers]: A changes one entry of each layer by 1, B another; the merge shows their weights."""
    layers = _SENSITIVITY.shape[1]
    names = [TENSOR.replace(".0.", f".{layer}.") for layer in range(layers)]
    rows = {"base": [0.0, 0.0], "a": [1.0, 0.0], "b": [0.0, 1.0]}
    models = {name: {tensor: [row] for tensor in names} for name, row in rows.items()}
    with example(models, {"num_hidden_layers": layers}) as folders:
        found = merge("sens_merging", folders, _sensed(layers), temperature=temperature)
    return np.array([found[name].reshape(2) for name in names]).T


def sens_merging() -> str:
    """Sensitivities, and the weights that follow."""
    rows = [("sensitivity", _SENSITIVITY / _SENSITIVITY.max() * 2)]
    rows += [(f"weights, T = {t:g}", layer_weights(t)) for t in (1.0, 0.1)]
    body = [
        line for place, (name, values) in enumerate(rows) for line in _pairs(place, name, values)
    ]
    body += [text(_LEFT + 88 * layer + 26, 288, f"layer {layer}") for layer in range(6)]
    words = (
        "Above, how sensitive A (blue) and B (orange) are in each of six layers; below, the weights of their "
        "deltas that follow, which sum to 2 in each layer. A temperature of 1 hardly tells them apart. "
        "Sensitivities and logits made by hand."
    )
    return svg("sens_merging", "Weights of Sens-Merging by layer", words, 300, body)


def _pairs(place: int, name: str, values: Array) -> Iterator[str]:
    low = 84 + place * 92
    yield text(4, low - 24, name)
    yield f'<path d="M{_LEFT} {low}H{_WIDTH - 10}" stroke="{FAINT}"/>'
    for layer, pair in enumerate(values.T):
        for model, value in enumerate(pair):
            x, tall = _LEFT + 88 * layer + 22 * model + 22, 36 * float(value)
            fill = (POSITIVE, NEGATIVE)[model]
            yield (
                f'<rect x="{x}" y="{low - tall:.1f}" width="18" height="{tall:.1f}" fill="{fill}"/>'
            )


def sens_entries(method: str, then: str, **given: float) -> str:
    """The entries of the other pictures, in a layer where A is the more sensitive one."""
    base, first, second = changes()
    rows = {"base": base, "a": base + first, "b": base + second}
    models = {name: {TENSOR: row[None, :]} for name, row in rows.items()}
    with example(models) as folders:
        found = merge(method, folders, _sensed(1), temperature=0.5, **given)
    shown = [("A − base", first), ("B − base", second), ("merge − base", found[TENSOR][0] - base)]
    body = [line for place, (name, row) in enumerate(shown) for line in bars(place, name, row)]
    drawn = ", ".join(f"{name} {value:g}" for name, value in {"temperature": 0.5, **given}.items())
    words = (
        f"What two fine-tunes change of 24 entries, as in other pictures, weighed by sensitivities and "
        f"then {then}. Drawn with {drawn}. Statistics made by hand."
    )
    return svg(method, f"What {method} makes of changes to 24 entries", words, 196, body)


# Matrices as tiles.


def tiles(left: float, top: float, matrix: Array, size: float = 22.0) -> Iterator[str]:
    """A tile an entry: blue above zero, orange below, the paler the smaller."""
    for row, values in enumerate(matrix):
        for column, value in enumerate(values):
            fill = POSITIVE if value > 0 else NEGATIVE
            strength = min(abs(float(value)) / 2.0, 1.0)
            yield (
                f'<rect x="{left + column * size:.1f}" y="{top + row * size:.1f}" width="{size - 2:g}" '
                f'height="{size - 2:g}" fill="{fill}" fill-opacity="{strength:.2f}" stroke="{FAINT}" '
                'stroke-width="0.5"/>'
            )


def pleas() -> str:
    """B is A with its hidden units in another order, and a little noise."""
    rng = np.random.default_rng(4)
    hidden, inner = 4, 6
    layer = "model.layers.0"
    square = [f"{layer}.self_attn.{part}_proj.weight" for part in "qkvo"]
    a = {name: rng.normal(0, 1, (hidden, hidden)) for name in square}
    a |= {
        f"{layer}.mlp.{part}_proj.weight": rng.normal(0, 1, (inner, hidden))
        for part in ("gate", "up")
    }
    a[f"{layer}.mlp.down_proj.weight"] = rng.normal(0, 1, (hidden, inner))
    norms = (f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm", "model.norm")
    a |= {f"{name}.weight": np.ones(hidden) for name in norms}
    a |= {
        name: rng.normal(0, 1, (8, hidden))
        for name in ("model.embed_tokens.weight", "lm_head.weight")
    }
    order = np.array([3, 0, 5, 1, 4, 2])
    b = dict(a)
    for part in ("gate", "up"):
        b[f"{layer}.mlp.{part}_proj.weight"] = a[f"{layer}.mlp.{part}_proj.weight"][order]
    b[f"{layer}.mlp.down_proj.weight"] = a[f"{layer}.mlp.down_proj.weight"][:, order]
    b = {name: value + rng.normal(0, 0.15, np.shape(value)) for name, value in b.items()}
    config = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "vocab_size": 8,
    }
    up = f"{layer}.mlp.up_proj.weight"
    with example({"a": a, "b": b}, config) as folders:
        plain = merge("linear", folders, {}, weight=0.5)[up]
        matched = merge("pleas", folders, {}, least_squares=False)[up]
    shown = (("A", a[up]), ("B", b[up]), ("average", plain), ("PLeaS", matched))
    body = []
    for place, (name, matrix) in enumerate(shown):
        left = 60 + 165 * place
        body += [text(left, 20, name, bold=name == "PLeaS"), *tiles(left, 32, matrix)]
    words = (
        "The matrix into an MLP's six hidden units, a row a unit. B's units are A's in another order, with "
        "some noise: the plain average mixes units that have nothing to do with each other, PLeaS finds the "
        "order first. Drawn with least_squares false."
    )
    return svg("pleas", "PLeaS brings units into one order before it averages", words, 174, body)


def m_smoe() -> str:
    """Six experts of three kinds; the most used ones lead the groups."""
    rng = np.random.default_rng(2)
    home = "model.layers.0.block_sparse_moe"
    kinds = [rng.normal(0, 1, (3, 3)) for _ in range(3)]
    down = [rng.normal(0, 1, (3, 3)) for _ in range(3)]
    of_kind = (0, 1, 0, 2, 1, 2)
    model: dict[str, Any] = {f"{home}.gate.weight": rng.normal(0, 1, (6, 3))}
    for expert, kind in enumerate(of_kind):
        for part, values in (("w1", kinds), ("w3", kinds), ("w2", down)):
            noise = rng.normal(0, 0.25, (3, 3))
            model[f"{home}.experts.{expert}.{part}.weight"] = values[kind] + noise
    usage = np.array([0.3, 0.24, 0.06, 0.22, 0.1, 0.08])
    alike = np.array([[float(one == other) for other in of_kind] for one in of_kind])
    router = f"{home}.gate.weight"
    routing = {"a": {f"{router}:usage": usage, f"{router}:products": alike + 0.01 * np.eye(6)}}
    config = {"model_type": "mixtral", "num_local_experts": 6, "num_experts_per_tok": 2}
    with example({"a": model}, config) as folders:
        found = merge("m_smoe", folders, {"routing": routing}, keep=0.5)
    body = [text(4, 40, "usage"), text(4, 92, "experts"), text(4, 176, "merged", bold=True)]
    for expert in range(6):
        left, tall = 110 + 100 * expert, 110 * usage[expert]
        name = f"{home}.experts.{expert}.w1.weight"
        body.append(
            f'<rect x="{left}" y="{46 - tall:.1f}" width="64" height="{tall:.1f}" fill="{FAINT}"/>'
        )
        body += [*tiles(left, 56, np.asarray(model[name])), *tiles(left, 140, found[name])]
    words = (
        "One matrix of each of six experts. The three most used lead a group each, the others join the one "
        "whose logits go with theirs, and every place then holds its group's average, weighted by usage. "
        "Drawn with keep 0.5. Usage and logits made by hand."
    )
    return svg("m_smoe", "Six experts become three groups", words, 212, body)


def dam() -> str:
    """Columns scaled and added."""
    rng = np.random.default_rng(9)
    a, b = rng.normal(0, 1.1, (4, 8)), rng.normal(0, 1.1, (4, 8))
    scales = np.array([[1, 0.9, 0.8, 0.5, 0.5, 0.2, 0.1, 0], [0, 0.1, 0.3, 0.5, 0.6, 0.8, 0.9, 1]])
    with example({"a": {TENSOR: a}, "b": {TENSOR: b}}) as folders:
        prints = [fingerprint(read_index(folder)) for folder in folders.values()]
        about = {"models": list(folders), "fingerprints": prints, "digest": "by hand"}
        file = folders["a"].parent / "coefficients.safetensors"
        values = {TENSOR: torch.tensor(scales[:, None, :], dtype=torch.float32)}
        Learned(values, about).save(file)
        found = merge("dam", folders, {}, coefficients=str(file))[TENSOR]
    body = []
    for place, (name, matrix) in enumerate((("A", a), ("B", b), ("merge", found))):
        left = 40 + 225 * place
        body += [text(left, 20, name, bold=name == "merge"), *tiles(left, 84, matrix)]
        for column, scale in enumerate(scales[place] if place < 2 else ()):
            tall = 44 * float(scale)
            body.append(
                f'<rect x="{left + 22 * column}" y="{76 - tall:.1f}" width="20" height="{tall:.1f}" '
                f'fill="{FAINT}"/>'
            )
    words = (
        "Above each column of A and B its coefficient, below the matrices; the merge's columns are the sums "
        "of both, scaled. Coefficients made by hand: `evomerge dam` learns them."
    )
    return svg("dam", "DAM scales columns and adds them", words, 182, body)


def text(x: float, y: float, words: str, *, bold: bool = False) -> str:
    """Letters at a place."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}"{weight}>{words}</text>'


def svg(method: str, title: str, words: str, height: float, body: Sequence[str]) -> str:
    """A drawing; `words` stand below it on the page, and are read to those who cannot see it."""
    assert method in METHODS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13"><title>{title}</title>'
        f"<desc>{words}</desc>\n" + "\n".join(body) + "\n</svg>\n"
    )


PICTURES: dict[str, Callable[[], str]] = {
    "fisher": fisher,
    "regmean": regmean,
    "mats": mats,
    "sens_merging": sens_merging,
    "sens_ties": lambda: sens_entries("sens_ties", "merged as TIES does", density=0.5),
    "sens_dare": lambda: sens_entries("sens_dare", "thinned as DARE does", density=0.5),
    "pleas": pleas,
    "m_smoe": m_smoe,
    "dam": dam,
}


def main() -> None:
    """Write all of them."""
    for name, draw in PICTURES.items():
        (FOLDER / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
