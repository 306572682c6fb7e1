"""A search for several objectives ends with a front: validated in full, tested, none of it beaten."""

from __future__ import annotations

import numpy as np

from evomerge.fitness import Split
from evomerge.pareto import pareto_ranks, spread_subset
from evomerge.results import read_results
from evomerge.store import open_store
from evomerge.store.types import EvaluationStatus, Origin
from tests.controller.simulated import simulate, store_file
from tests.support import fake_spec


def test_the_front_is_tested_beside_every_baseline(tmp_path):
    url = store_file(tmp_path, "store")
    spec = fake_spec(
        tmp_path,
        objective={"tasks": [{"task": "alpha"}, {"task": "beta"}], "goal": "pareto"},
        strategy={"name": "auto", "population_size": 8, "seed": 2},
        budget={"candidates": 48},
        selection={"top": 4},
    )
    search, _ = simulate(url, spec, 1)
    store = open_store(url)
    searched = {c.id for c in store.candidates(search) if c.origin is Origin.SEARCH}
    tested = [e for e in store.evaluations(search, Split.TEST) if e.candidate_id in searched]
    assert 1 < len(tested) <= 4
    assert all(e.status is EvaluationStatus.SCORED for e in store.evaluations(search))
    validated = {e.candidate_id: e for e in store.evaluations(search, Split.VALIDATION)}
    points = np.array([[s.value for s in validated[e.candidate_id].scores] for e in tested])
    assert (pareto_ranks(points) == 0).all()
    front = read_results(store, store.search(search)).front
    assert front is not None
    assert len(front.members) == len(tested)


def test_a_subset_of_a_front_is_spread_towards_its_ends():
    angles = np.linspace(0, np.pi / 2, 30)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    chosen = spread_subset(points, 4)
    assert len(chosen) == 4
    assert min(chosen) < 6
    assert max(chosen) > 23
    assert spread_subset(points[:3], 4) == [0, 1, 2]
