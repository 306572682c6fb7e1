"""A candidate as a model that others can use: checkpoint, tokenizer, configuration, model card.

The weights are merged again from the recipe, which gives the same bytes that were scored. All of it
appears at once under its final name, or not at all.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from evomerge.errors import NotFoundError
from evomerge.export.card import Provenance, ScoreRow, write_card
from evomerge.recipe import Recipe, Tokenizer
from evomerge.results import Results, find_winner, label_of, read_results, scored_by_split
from evomerge.store import SQLStore
from evomerge.store.types import CandidateRecord, EvaluationRecord, EvaluationStatus

Count = Callable[[int, int], None]


def find_candidate(store: SQLStore, name: str) -> CandidateRecord:
    """A candidate by id, by `SEARCH:NUMBER`, or a search's winner by the search's name alone."""
    if name.isdigit():
        return store.candidate(int(name))
    search_name, colon, number = name.partition(":")
    search = store.search(search_name)
    candidates = store.entrants(search.id)
    if not colon:
        winner = find_winner(candidates, scored_by_split(store, search.id))
        if winner is None:
            raise NotFoundError(
                "nothing was scored yet, so there is no winner",
                where=f"search {search.id}",
                remedy=f"see how far it is: evomerge status {search.id}",
            )
        return store.candidate(winner.id)
    found = [c for c in candidates if number.isdigit() and c.number == int(number)]
    if not found:
        raise NotFoundError(
            f"no candidate {number!r}; it has {len(candidates)}, numbered from 0",
            where=f"search {search.id}",
            remedy=f"list the best: evomerge best --search {search.id}",
        )
    return store.candidate(found[0].id)


def export_candidate(
    store: SQLStore,
    candidate: CandidateRecord,
    out: Path,
    *,
    progress: Count | None = None,
    notify: Callable[[str], None] | None = None,
) -> Path:
    """Write the candidate into `out`, a new or empty folder; returns it.

    Raises ResourceError where `out` is not empty or the disk is too small, MergeError where the
    recipe gives no usable weights; then nothing is left behind.
    """
    from evomerge.merging.out_folder import refuse_existing

    refuse_existing(out)
    with _undone_on_failure(out) as folder:
        recipe = complete(candidate.recipe)
        merge_recipe(recipe, folder, progress=progress, notify=notify)
        write_card(folder, recipe, _provenance(store, candidate), title=out.name)
    return out


class _undone_on_failure:
    """A folder beside `out` that takes its name when the block ends well, and vanishes otherwise."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._folder = out.parent / f".{out.name}.unfinished"

    def __enter__(self) -> Path:
        shutil.rmtree(self._folder, ignore_errors=True)
        return self._folder

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._folder.replace(self._out)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def complete(recipe: Recipe) -> Recipe:
    """A search's recipe with what the engine adds to it: all models in the base's vocabulary.

    Said only where a model has another one, so that most recipes stay as they are.
    """
    from evomerge.hub import model_folders
    from evomerge.merging.indexes import read_model
    from evomerge.vocabulary import vocabulary_of

    names = recipe.all_models()
    folders = model_folders(names)
    known = [vocabulary_of(name, read_model(name, folders)) for name in names]
    same = all(one is None or known[0] is None or one.same_as(known[0]) for one in known)
    if same or recipe.tokenizer is not None:
        return recipe
    return recipe.model_copy(update={"tokenizer": Tokenizer(source="base")})


def merge_recipe(
    recipe: Recipe,
    out: Path,
    *,
    progress: Count | None = None,
    notify: Callable[[str], None] | None = None,
) -> None:
    """Merge the recipe's models, by folder or from the hub, into `out`."""
    from evomerge.hub import model_folders
    from evomerge.merging.offline import merge_to_folder

    merge_to_folder(
        recipe,
        out,
        models=model_folders(recipe.all_models()),
        progress=None if progress is None else lambda p: progress(p.bytes_done, p.bytes_total),
        notify=notify,
    )


def _provenance(store: SQLStore, candidate: CandidateRecord) -> Provenance:
    search = store.search(candidate.search_id)
    progress, evaluations = store.progress(search.id), store.evaluations_of(candidate.id)
    scored = [one for one in evaluations if one.status is EvaluationStatus.SCORED]
    return Provenance(
        search_name=search.name,
        label=label_of(candidate),
        strategy=search.spec.strategy.name,
        seed=search.spec.strategy.seed,
        candidates=progress.candidates - progress.baselines,
        scores=tuple(row for evaluation in scored for row in _score_rows(evaluation)),
        verdict=_verdict(read_results(store, search), candidate),
        versions=dict(search.versions),
    )


def _verdict(results: Results, candidate: CandidateRecord) -> list[str]:
    """What the results say of this candidate, if it is the winner."""
    if results.winner is None or results.winner.candidate_id != candidate.id:
        return []
    trust = results.optimism.sentence if results.optimism else ""
    return [sentence for sentence in (results.sentence, trust) if sentence]


def _score_rows(evaluation: EvaluationRecord) -> list[ScoreRow]:
    return [
        (evaluation.split.value, s.task, s.metric, s.value, s.stderr, s.n)
        for s in evaluation.headlines.values()
    ]
