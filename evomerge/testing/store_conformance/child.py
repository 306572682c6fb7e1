"""The processes that the tests start, race and kill: `python -m … ACTION URL …`."""

import sys

from evomerge.errors import LeaseLostError
from evomerge.fitness import Fitness
from evomerge.store import Store, make_owner, open_store
from evomerge.store.types import EvaluationRecord, EvaluationStatus
from evomerge.testing.store_conformance.samples import make_candidate, make_result

BATCHES, BATCH = 6, 5


def main(arguments: list[str]) -> None:
    """Say that we are ready, wait for a word, act, say what came of it, and wait for the end."""
    action, url, *rest = arguments
    store = open_store(url)
    print("ready", flush=True)
    sys.stdin.readline()
    actions = {"lease": race_for_leases, "score": score_all, "search": run_search}
    print(*actions[action](store, rest), flush=True)
    sys.stdin.read()  # until all are done: the leases of the dead are free
    store.close()


def race_for_leases(store: Store, search_ids: list[str]) -> list[str]:
    """Try for every lease; the ones that we got."""
    owner = make_owner()
    got = []
    for search_id in search_ids:
        try:
            store.acquire_lease(search_id, owner, 60)
            got.append(search_id)
        except LeaseLostError:
            pass
    return got


def score_all(store: Store, evaluation_ids: list[str]) -> list[str]:
    """Score each evaluation."""
    for evaluation_id in map(int, evaluation_ids):
        _score(store, store.evaluation(evaluation_id))
    return ["scored"]


def run_search(store: Store, arguments: list[str]) -> list[str]:
    """A small controller: ask in batches, score, tell; go on from wherever the store stands."""
    (search_id,) = arguments
    owner = make_owner()
    store.acquire_lease(search_id, owner, 3600)
    for batch in range(BATCHES):
        numbers = range(batch * BATCH, (batch + 1) * BATCH)
        present = {candidate.number for candidate in store.candidates(search_id)}
        if not present.issuperset(numbers):
            store.add_candidates(search_id, owner, [make_candidate(n) for n in numbers])
        _score_batch(store, search_id)
        _tell_batch(store, search_id, owner)
    return ["finished"]


def _score_batch(store: Store, search_id: str) -> None:
    for evaluation in store.evaluations(search_id):
        if evaluation.status in {EvaluationStatus.PENDING, EvaluationStatus.RUNNING}:
            _score(store, evaluation)
    scored = store.evaluations(search_id)
    store.set_fitness({e.id: Fitness(e.scores[0].value, 0.01) for e in scored if e.fitness is None})


def _tell_batch(store: Store, search_id: str, owner: str) -> None:
    losses = {e.candidate_id: -(e.fitness or 0.0) for e in store.evaluations(search_id)}
    untold = [c.id for c in store.candidates(search_id) if c.told is None]
    if untold:
        store.mark_told(search_id, owner, {key: losses[key] for key in untold})


def _score(store: Store, evaluation: EvaluationRecord) -> None:
    """The score follows from the candidate, as a real one does."""
    attempt = store.begin_attempt(evaluation.id, "child")
    number = store.candidate(evaluation.candidate_id).number
    store.finish_attempt(evaluation.id, attempt, make_result(number / 100))


if __name__ == "__main__":
    main(sys.argv[1:])
