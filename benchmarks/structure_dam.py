"""DAM against a search and after it, on the demo's zoo: a part of `benchmarks.structure_methods`."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.data_methods import OWN, Row, documents, table, with_texts
from evomerge.evaluation import Evaluator, make_evaluator
from evomerge.evaluation.calibration_texts import texts_of
from evomerge.export.candidates import find_candidate
from evomerge.fitness import Split
from evomerge.merging.dam.run import COEFFICIENTS, MERGE, START, learn
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe
from evomerge.merging.offline import merge_to_folder
from evomerge.recipe import Calibration, Recipe, Source, constant
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import CalibrationSpec, SearchSpec, load_spec
from evomerge.store import open_store
from evomerge.zoo import ZOOS, build_zoo

SETTINGS: dict[str, Any] = {"steps": 60.0, "batch_size": 4.0, "lr": 0.02}
"""240 texts of every model; the published rate of 1e-3 is for 1,729 steps."""
CANDIDATES = 20


def dam_rows(home: Path) -> Iterator[str]:
    """Average, search, DAM, a search that starts from DAM's means, the winner polished by DAM."""
    plain = load_spec(build_zoo(config=ZOOS["demo"]).search_file)
    spec = with_texts(plain, OWN)
    texts_of(spec).save()
    sane = [model for model in spec.models if not model.endswith("decoy")]
    average = Recipe(
        merge_method="linear",
        base_model=spec.base_model,
        models=tuple(Source(model=m, parameters={"weight": constant(1.0)}) for m in spec.models),
    )
    found: list[tuple[str, Recipe, float]] = [("uniform average", average, 0.0)]
    start = time.perf_counter()
    winner = searched(home / "search.db", plain)
    found.append((f"search, {CANDIDATES} candidates", winner, time.perf_counter() - start))
    for name, models in (("DAM", spec.models), ("DAM without the decoy", sane)):
        start = time.perf_counter()
        recipe = learned(home / name, dam(spec, models))
        found.append((name, recipe, time.perf_counter() - start))
    start = time.perf_counter()
    polished = polish(home, spec, winner, sane)
    found.append(("the search's winner, polished by DAM", polished, time.perf_counter() - start))
    outside = {name: recipe for name, recipe, _ in found if recipe is polished}
    yield evaluated(home, spec, found, outside)
    start = time.perf_counter()
    again = searched(home / "again.db", plain, home / "DAM" / START)
    found.append(("the search, started from DAM's means", again, time.perf_counter() - start))
    yield evaluated(home / "last", spec, found, outside)


def dam(spec: SearchSpec, models: Sequence[str], more: tuple[Source, ...] = ()) -> Recipe:
    """A configuration of DAM over these models; with others first, at weight 0."""
    own = {"weight": constant(0.0)} if more else {}
    return Recipe(
        merge_method="dam",
        base_model=None if more else spec.base_model,
        models=(*more, *(Source(model=model, parameters=own) for model in models)),
        parameters={name: constant(value) for name, value in SETTINGS.items()},
        calibration=Calibration(data=spec.calibration.set),
        dtype="float32",
    )


def learned(folder: Path, recipe: Recipe) -> Recipe:
    """Learn, and the recipe that applies it."""
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text(dump_recipe(recipe))
    losses = learn(config, folder).about["losses"]
    print(f"{folder.name}: loss {losses[0]:.3f} to {sum(losses[-10:]) / 10:.3f}", flush=True)
    found = load_recipe(folder / MERGE)
    return found.model_copy(update={"coefficients": str(folder / COEFFICIENTS)})


def polish(home: Path, spec: SearchSpec, winner: Recipe, models: Sequence[str]) -> Recipe:
    """DAM that begins at a search's winner, and learns from the experts alone."""
    merge_to_folder(winner.model_copy(update={"dtype": "float32"}), home / "winner")
    first = {"weight": constant(1.0), "teacher": constant(False)}
    source = Source(model=str(home / "winner"), parameters=first)
    return learned(home / "polished", dam(spec, models, (source,)))


def searched(store_file: Path, spec: SearchSpec, start: Path | None = None) -> Recipe:
    """The winner of the demo's search with fewer candidates."""
    budget = spec.budget.model_copy(update={"candidates": CANDIDATES})
    update: dict[str, Any] = {"budget": budget}
    if start is not None:
        starts = spec.strategy.start.model_copy(update={"recipes": (load_recipe(start),)})
        update["strategy"] = spec.strategy.model_copy(update={"start": starts})
    store = open_store(str(store_file), create=True)
    try:
        search = submit_search(store, check_search(spec.model_copy(update=update)))
        dispatcher = make_dispatcher(search.spec, store.url, inline=True)
        try:
            run_search(store, search.id, dispatcher)
        finally:
            dispatcher.close()
        return find_candidate(store, search.id).recipe
    finally:
        store.close()


def passed(folder: Path) -> Recipe:
    """The model in a folder as it is."""
    return Recipe(merge_method="passthrough", models=(Source(model=str(folder)),))


def evaluated(
    home: Path,
    spec: SearchSpec,
    found: Sequence[tuple[str, Recipe, float]],
    outside: dict[str, Recipe],
) -> str:
    """The table; recipes over models that the engine does not know are merged to folders first."""
    folders = {name: home / "final" / str(n) for n, name in enumerate(outside)}
    for name, recipe in outside.items():
        merge_to_folder(recipe, folders[name])
    models = (*spec.models, *(str(folder) for folder in folders.values()))
    evaluator: Evaluator = make_evaluator(
        spec.model_copy(update={"calibration": CalibrationSpec(), "models": models})
    )
    rows = []
    try:
        for name, recipe, seconds in found:
            asked = passed(folders[name]) if name in folders else recipe
            result = evaluator.evaluate(asked, Split.TEST)
            rows.append(Row(name, documents(result), seconds, CANDIDATES))
    finally:
        evaluator.close()
    return table(rows).replace("CPU seconds", "seconds")  # by the clock on the wall, here
