"""Which strategy `auto` stands for, what is refused, and the small strategies."""

import math

import numpy as np
import pytest

from evomerge.errors import SpecError
from evomerge.spec import SOUP, StrategySpec
from evomerge.strategy import Observation, choose, to_losses
from evomerge.strategy.choice import MODEL_BUDGET, SEPARABLE_FROM
from tests.strategy.functions import made, minimise, sphere

AUTO = StrategySpec(name="auto")


@pytest.mark.parametrize(
    ("dimension", "cells", "objectives", "budget", "name"),
    [
        (4, (0,) * 4, 1, 60, "gp"),
        (24, (0,) * 24, 1, MODEL_BUDGET, "gp"),
        (24, (0,) * 24, 1, MODEL_BUDGET + 1, "cma"),
        (SEPARABLE_FROM, (0,) * SEPARABLE_FROM, 1, 2000, "sep-cma"),
        (6, (0, 0, 3, 0, 0, 2), 1, 2000, "catcma"),
        (6, (0, 0, 3, 0, 0, 2), 1, 50, "gp"),
        (6, (0,) * 6, 3, 50, "nsga2"),
    ],
)
def test_auto_goes_by_objectives_budget_values_and_genes(
    dimension: int, cells: tuple[int, ...], objectives: int, budget: int, name: str
) -> None:
    chosen, reason = choose(AUTO, dimension, cells, objectives, budget)
    assert chosen == name
    assert any(character.isdigit() for character in reason)


def test_a_name_in_the_search_file_is_kept() -> None:
    assert choose(StrategySpec(name="random"), 4, (), 3, 10)[0] == "random"


def test_auto_asks_as_the_strategy_does_that_it_stands_for() -> None:
    for budget, name in ((50, "gp"), (5000, "cma")):
        auto, named = (made(one, 4, budget=budget) for one in ("auto", name))
        assert minimise(auto, sphere, 30) == minimise(named, sphere, 30)


def test_a_soup_is_no_strategy_that_asks() -> None:
    with pytest.raises(SpecError, match="no strategy that asks"):
        made(SOUP, 4)


def test_a_grid_is_as_fine_as_the_budget_allows_and_then_ends() -> None:
    strategy = made("grid", 3, cells=(0, 2, 0), budget=60)
    genomes = []
    while strategy.stop_reason is None:
        genomes.append(strategy.ask())
    values = [sorted({genome[gene] for genome in genomes}) for gene in range(3)]
    assert [len(one) for one in values] == [5, 2, 6] or [len(one) for one in values] == [6, 2, 5]
    assert len({genome.tobytes() for genome in genomes}) == len(genomes) == 60
    assert values[1] == [0.25, 0.75]
    assert values[0][0] == 0.0
    assert values[0][-1] == 1.0


def test_a_gene_that_the_grid_has_no_budget_for_keeps_the_value_of_the_start() -> None:
    strategy = made("grid", 8, start=np.full(8, 0.3), budget=10)
    genomes = np.array([strategy.ask() for _ in range(8)])
    assert sum(len(np.unique(column)) == 1 for column in genomes.T) == 5
    assert (genomes[:, -1] == 0.3).all()


@pytest.mark.parametrize("losses", [(math.nan,), (math.inf,), (0.0, -math.inf)])
def test_a_loss_that_is_no_number_is_refused(losses: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="not finite"):
        Observation(losses)


def test_infeasible_candidates_rank_behind_feasible_ones_and_failures_behind_all() -> None:
    told = [
        Observation(None),
        Observation((-9.0,), violation=0.5),
        Observation((3.0,)),
        Observation((-9.0,), violation=0.1),
        Observation((2.0,)),
    ]
    assert np.argsort(to_losses(told)).tolist() == [4, 2, 3, 1, 0]
