"""Losses as they come: equal, huge, missing, against constraints."""

import pytest

from evomerge.space import Genome
from evomerge.strategy import Observation
from evomerge.testing.strategy_conformance.problems import MIXED, Maker, Problem, in_box, walk


class LossTests(Maker):
    """Nothing that is told can break a strategy."""

    @pytest.mark.parametrize("cells", [(), MIXED])
    def test_equal_and_huge_losses_break_nothing(self, cells: tuple[int, ...]) -> None:
        strategy = self.make(Problem(len(MIXED), cells=cells))
        for loss in (0.0, 1e300, 0.0, -1e300, 1e-300):
            told = walk(strategy, 15, lambda _, loss=loss: self.observe(loss))  # type: ignore[misc]
            assert all(in_box(genome) for genome, _ in told)

    @pytest.mark.parametrize("cells", [(), MIXED])
    def test_a_search_whose_candidates_all_fail_goes_on(self, cells: tuple[int, ...]) -> None:
        strategy = self.make(Problem(len(MIXED), cells=cells))
        told = walk(strategy, 50, lambda _: Observation(None))
        assert all(in_box(genome) for genome, _ in told)

    def test_a_search_without_a_feasible_candidate_goes_on(self) -> None:
        strategy = self.make(Problem())

        def loss(genome: Genome) -> Observation:
            return Observation(self.observe(0.5).losses, violation=float(genome.sum()))

        assert all(in_box(genome) for genome, _ in walk(strategy, 50, loss))

    def test_one_collapsed_merge_among_good_ones_breaks_nothing(self) -> None:
        strategy = self.make(Problem())
        walk(strategy, 20, self.plateaus)
        strategy.tell(strategy.ask(), self.observe(1e9))
        assert all(in_box(genome) for genome, _ in walk(strategy, 20, self.plateaus))

    def test_a_new_search_has_no_reason_to_stop(self) -> None:
        strategy = self.make(Problem())
        assert strategy.stop_reason is None
        walk(strategy, 10, self.plateaus)
        assert strategy.stop_reason is None
