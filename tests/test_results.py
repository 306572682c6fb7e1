"""The statistics of the results table, and what it says about a search."""

import dataclasses
import math

import numpy as np
import pytest

from evomerge.bootstrap import (
    basic_interval,
    normal_draws,
    percentile_interval,
    resampled_means,
    wilson_interval,
)
from evomerge.comparison import Comparison
from evomerge.controller.events import ignore
from evomerge.fitness import (
    Objective,
    References,
    Split,
    TaskOutcomes,
    TaskScore,
    compute_fitness,
    mean_score,
)
from evomerge.results import find_winner, read_results, read_table
from evomerge.results.optimism import expected_optimism
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from evomerge.store.types import EvaluationRecord, EvaluationStatus, SearchStatus
from tests.support import fake_spec


def objective(goal="mean", **tasks):
    return Objective.model_validate(
        {"goal": goal, "tasks": [{"task": name, **options} for name, options in tasks.items()]}
    )


def evaluation(scores, fitness=None):
    return EvaluationRecord(
        1, 1, Split.TEST, EvaluationStatus.SCORED, 1, fitness=fitness, scores=tuple(scores)
    )


def compare(spec, rows, references=None):
    """A comparison of rows given as `{task: values}`."""
    evaluations, outcomes = [], []
    for row in rows:
        scores = [mean_score(t, "acc", np.asarray(v, float), headline=True) for t, v in row.items()]
        evaluations.append(evaluation(scores))
        outcomes.append(
            [
                TaskOutcomes(t, tuple(range(len(v))), {"acc": np.asarray(v, float)})
                for t, v in row.items()
            ]
        )
    return Comparison(spec, references or References(), evaluations, outcomes)


def test_the_bootstrap_interval_covers_the_true_mean_in_about_95_of_100_samples():
    generator = np.random.default_rng(1)
    samples = generator.random((300, 120)) < 0.7
    draws = resampled_means(samples.astype(float), resamples=1000)
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    assert 0.92 <= np.mean((low <= 0.7) & (high >= 0.7)) <= 0.975


def test_the_bootstrap_interval_is_not_too_short_for_twenty_documents():
    samples = np.random.default_rng(2).normal(0, 1, (1000, 20))
    low, high = np.quantile(resampled_means(samples, resamples=1000), [0.025, 0.975], axis=0)
    assert np.mean((low <= 0) & (high >= 0)) >= 0.925


def test_wilson_covers_where_the_bootstrap_has_no_width():
    everything_right = wilson_interval(np.ones(60))
    assert everything_right.value == everything_right.high == 1.0
    assert 0.92 < everything_right.low < 0.95


def test_the_paired_lead_covers_the_true_difference_in_about_95_of_100_tables():
    generator = np.random.default_rng(3)
    spec, covered, truth = objective(a={"weight": 2}, b={}), 0, 0.75 - expected_share()
    for _ in range(100):
        hardness = {"a": generator.random(100), "b": generator.random(60)}
        row = {t: h < 0.75 for t, h in hardness.items()}
        other = {t: (h + generator.normal(0, 0.1, len(h))) < 0.70 for t, h in hardness.items()}
        lead, _ = compare(spec, [row, other]).lead(0, 1)
        covered += lead.low <= truth <= lead.high
    assert covered >= 89


def expected_share():
    """The chance that a uniform hardness plus normal noise lies below 0.70."""
    generator = np.random.default_rng(0)
    return np.mean(generator.random(10**6) + generator.normal(0, 0.1, 10**6) < 0.70)


def test_the_paired_interval_is_much_shorter_than_the_unpaired_one():
    hardness = np.random.default_rng(4).random(300)
    table = compare(objective(a={}), [{"a": hardness < 0.6}, {"a": hardness < 0.55}])
    lead, paired = table.lead(0, 1)
    scores = [table.fitness(row) for row in (0, 1)]
    unpaired = sum((s.high - s.low) ** 2 for s in scores) ** 0.5
    assert paired
    assert lead.high - lead.low < 0.5 * unpaired
    assert lead.low > 0


def test_the_lead_of_a_row_over_itself_is_exactly_zero():
    row = {"a": np.random.default_rng(5).random(50) < 0.5}
    lead, _ = compare(objective(a={}), [row, row]).lead(0, 1)
    assert (lead.value, lead.low, lead.high) == (0.0, 0.0, 0.0)


def test_the_paired_lead_of_a_task_covers_the_true_difference_in_about_95_of_100_tables():
    generator, covered = np.random.default_rng(11), 0
    for _ in range(200):
        hardness = generator.random(120)
        found = compare(
            objective(a={}), [{"a": hardness < 0.6}, {"a": (hardness + 0.1) % 1 < 0.5}]
        ).score_leads(0, 1)["a"]
        lead, paired = found
        assert paired
        covered += lead.low <= 0.1 <= lead.high
    assert 0.89 * 200 <= covered <= 0.99 * 200


def test_the_lead_of_a_task_turns_round_with_its_rows_and_is_zero_over_itself():
    generator = np.random.default_rng(12)
    rows = [{"a": generator.random(50), "b": generator.random(40)} for _ in range(2)]
    table = compare(objective(a={}, b={}), rows)
    for task, (there, _) in table.score_leads(0, 1).items():
        back, _ = table.score_leads(1, 0)[task]
        assert (there.value, there.low) == pytest.approx((-back.value, -back.high))
        itself, _ = table.score_leads(1, 1)[task]
        assert (itself.value, itself.low, itself.high) == (0, 0, 0)


def test_draws_weigh_normalise_and_turn_round_as_fitness_does():
    spec = objective(
        a={"weight": 3, "normalise": "expert"}, b={"direction": "min", "normalise": "base"}
    )
    references = References(base={"a": 0.4, "b": 0.5}, expert={"a": 0.8, "b": 0.9})
    generator = np.random.default_rng(6)
    row = {"a": generator.random(80) < 0.6, "b": generator.random(40) < 0.3}
    table = compare(spec, [row], references)
    scores = [mean_score(t, "acc", v.astype(float), headline=True) for t, v in row.items()]
    expected = compute_fitness(spec, scores, references)
    estimate = table.fitness(0)
    assert estimate.value == pytest.approx(expected.value)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * expected.stderr, rel=0.1)


def test_a_score_that_is_no_mean_falls_back_to_its_standard_error_unpaired():
    scores = [
        TaskScore("a", "f1", 0.6, 0.02, 100, True),
        TaskScore("a", "f1", 0.5, 0.02, 100, True),
    ]
    outcomes = [[TaskOutcomes("a", (0, 1), {"f1": np.array([0.0, 1.0])})]] * 2
    table = Comparison(
        objective(a={}), References(), [evaluation([score]) for score in scores], outcomes
    )
    lead, paired = table.lead(0, 1)
    assert not paired
    assert lead.high - lead.low == pytest.approx(2 * 1.96 * 0.02 * 2**0.5, rel=0.1)


def test_a_score_without_a_standard_error_gets_no_interval():
    scores = [TaskScore("a", "perplexity", 9.0, None, 100, True)]
    table = Comparison(objective(a={}), References(), [evaluation(scores)], [[]])
    assert table.fitness(0).low is None
    assert table.scores(0)["a"].low is None


def test_documents_without_a_value_are_left_out():
    values = np.array([1.0, np.nan, 0.0, 1.0])
    score = mean_score("a", "acc", values[~np.isnan(values)], headline=True)
    outcomes = [[TaskOutcomes("a", (0, 1, 2, 3), {"acc": values})]]
    table = Comparison(objective(a={}), References(), [evaluation([score])], outcomes)
    assert table.scores(0)["a"].low is not None


def test_missing_references_are_said_and_fitness_is_left_plain():
    spec = objective(a={"normalise": "expert"})
    table = compare(spec, [{"a": [0, 1, 1, 1]}])
    assert table.notes
    assert table.fitness(0).value == 0.75


def test_intervals_are_the_same_at_every_call():
    row = {"a": np.random.default_rng(7).random(90) < 0.5}
    one, two = (compare(objective(a={}), [row]).fitness(0) for _ in "ab")
    assert one == two
    assert np.array_equal(normal_draws(0, 1, (3,)), normal_draws(0, 1, (3,)))
    assert percentile_interval(1.0, None).low is None


def test_the_interval_of_the_worst_of_four_equal_tasks_covers_the_truth():
    """The worst score is too low by chance; a plain percentile interval makes that twice as bad."""
    generator = np.random.default_rng(8)
    spec = objective("worst", a={}, b={}, c={}, d={})
    covered, plain = 0, 0
    for _ in range(100):
        table = compare(spec, [{task: generator.random(120) < 0.7 for task in "abcd"}])
        estimate = table.fitness(0)
        covered += estimate.low <= 0.7 <= estimate.high
        plain += 2 * estimate.value - estimate.low >= 0.7
    assert covered >= 86
    assert plain < covered - 15


def test_the_basic_interval_mirrors_the_draws_at_the_value():
    found = basic_interval(1.0, np.linspace(0.0, 1.0, 1001))
    assert (found.low, found.high) == pytest.approx((1.025, 1.975))
    assert basic_interval(1.0, None).low is None


def candidates_on(hardness, abilities, generator, tasks="a"):
    """Outcomes of candidates on the same documents, each with noise of its own."""
    rows = []
    for ability in abilities:
        noise = {t: generator.normal(0, 0.25, len(hardness[t])) for t in tasks}
        rows.append({t: (hardness[t] + noise[t] < ability).astype(float) for t in tasks})
    return rows


def share_right(ability):
    """The chance that a uniform hardness plus noise lies below the ability."""
    noise = np.random.default_rng(0).normal(0, 0.25, 200_000)
    return float(np.clip(ability - noise, 0, 1).mean())


@pytest.mark.parametrize(
    ("goal", "tasks", "spread"), [("mean", "a", 0.0), ("mean", "a", 0.1), ("worst", "ab", 0.05)]
)
def test_the_expected_optimism_is_about_what_the_best_search_score_overstates(goal, tasks, spread):
    """The truth: its score less what it would score, on average, on as many new documents."""
    generator = np.random.default_rng(9)
    spec = objective(goal, **{task: {} for task in tasks})
    truth, estimated = [], []
    for _ in range(30):
        hardness = {task: generator.random(120) for task in tasks}
        abilities = 0.6 + spread * generator.standard_normal(40)
        rows = candidates_on(hardness, abilities, generator, tasks)
        evaluations, outcomes = recorded(spec, rows)
        best = max(range(len(rows)), key=lambda n: evaluations[n].fitness)
        again = generator.binomial(120, share_right(abilities[best]), (20_000, len(tasks)))
        truth.append(evaluations[best].fitness - again.min(axis=1).mean() / 120)
        estimated.append(expected_optimism(spec, References(), evaluations, outcomes))
    error = np.std(truth) / math.sqrt(len(truth))
    assert abs(np.mean(estimated) - np.mean(truth)) < 0.35 * np.mean(truth) + 2 * error
    assert np.mean(estimated) > 0.01


def recorded(spec, rows):
    """Evaluations and outcomes as the store gives them."""
    evaluations, outcomes = [], []
    for row in rows:
        scores = [mean_score(t, "acc", v, headline=True) for t, v in row.items()]
        evaluations.append(evaluation(scores, compute_fitness(spec, scores).value))
        outcomes.append([TaskOutcomes(t, tuple(range(len(v))), {"acc": v}) for t, v in row.items()])
    return evaluations, outcomes


def test_one_candidate_and_scores_that_are_no_means_have_no_expected_optimism():
    spec = objective(a={})
    values = np.array([0.0, 1.0, 1.0])
    evaluations, outcomes = recorded(spec, [{"a": values}, {"a": values[::-1]}])
    assert expected_optimism(spec, References(), evaluations[:1], outcomes[:1]) is None
    assert expected_optimism(spec, References(), evaluations, [outcomes[0], []]) is None
    assert expected_optimism(spec, References(), evaluations, outcomes) is not None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    store = open_store(folder / "store.db")
    spec = fake_spec(folder)
    yield store, run(store, spec), folder
    store.close()


def run(store, spec):
    search = submit_search(store, check_search(spec, store.url))
    dispatcher = make_dispatcher(spec, store.url, inline=True)
    assert run_search(store, search.id, dispatcher, ignore) is SearchStatus.FINISHED
    return store.search(search.id)


def test_the_winner_is_the_searchs_candidate_that_answered_the_test_documents(finished):
    store, search, _ = finished
    results = read_results(store, search)
    tested = {e.candidate_id for e in store.evaluations(search.id, Split.TEST)}
    assert results.split is Split.TEST
    assert results.winner.candidate_id in tested
    assert results.winner.label.startswith("candidate ")


def test_baselines_finalists_and_the_best_are_enough_for_the_table(finished):
    store, search, _ = finished
    whole = read_results(store, search)
    best = store.progress(search.id).best
    table = read_table(store, search, store.chosen(search.id, [best.id]))
    assert table == dataclasses.replace(whole, optimism=None, front=None)


def test_every_baseline_is_in_the_table_once_and_greedy_soups_trials_are_not(finished):
    store, search, _ = finished
    labels = [row.label for row in read_results(store, search).baselines]
    assert labels == [
        *("base", "expert x", "expert y", "expert z", "uniform average"),
        *("task arithmetic", "TIES", "DARE-TIES", "greedy soup"),
    ]


def test_fitness_and_leads_agree_with_the_store(finished):
    store, search, _ = finished
    results = read_results(store, search)
    stored = {e.candidate_id: e.fitness for e in store.evaluations(search.id, Split.TEST)}
    for row in results.rows:
        assert row.fitness.value == stored[row.candidate_id]
        assert row.fitness.low <= row.fitness.value <= row.fitness.high
    for row in results.baselines:
        assert row.paired
        assert row.lead.value == pytest.approx(results.winner.fitness.value - row.fitness.value)
        assert row.lead.low <= row.lead.value <= row.lead.high


def test_the_sentence_names_the_best_baseline_and_whether_the_lead_is_sure(finished):
    results = read_results(*finished[:2])
    best = results.best_baseline
    assert best.label in results.sentence
    ahead = dataclasses.replace(best.lead, value=0.1, low=0.05, high=0.15)
    unsure = dataclasses.replace(best.lead, value=0.1, low=-0.05, high=0.25)
    behind = dataclasses.replace(best.lead, value=-0.1, low=-0.2, high=-0.01)
    said = [with_lead(results, lead).sentence for lead in (ahead, unsure, behind)]
    assert "beat the best trivial merge" in said[0]
    assert "may be chance" in said[1]
    assert "did not beat" in said[2]


def with_lead(results, lead):
    best = results.best_baseline
    rows = [dataclasses.replace(r, lead=lead) if r is best else r for r in results.baselines]
    return dataclasses.replace(results, baselines=tuple(rows))


def test_the_gap_between_search_and_test_is_that_of_the_stored_fitness(finished):
    store, search, _ = finished
    results = read_results(store, search)
    stored = {
        e.split: e.fitness
        for e in store.evaluations(search.id)
        if e.candidate_id == results.winner.candidate_id
    }
    found = results.optimism
    assert (found.search, found.test) == (stored[Split.SEARCH], stored[Split.TEST])
    assert found.gap.value == pytest.approx(found.search - found.test)
    assert found.gap.low < found.gap.value < found.gap.high
    assert f"{found.search:.4f} on the search documents" in found.sentence
    assert "too high from the choice alone" in found.sentence


def test_test_documents_choose_no_winner_where_several_were_tested(finished):
    store, search, _ = finished
    candidates = [c for c in store.candidates(search.id) if c.genome is not None][:2]
    fitness = {
        Split.SEARCH: (0.5, 0.6),
        Split.VALIDATION: (0.7, 0.6),
        Split.TEST: (0.1, 0.9),
    }
    scored = {
        split: {c.id: evaluation([], value) for c, value in zip(candidates, values, strict=True)}
        for split, values in fitness.items()
    }
    assert find_winner(candidates, scored) is candidates[0]
    assert find_winner(candidates, scored | {Split.VALIDATION: {}}) is candidates[1]


def pareto_search(finished, **objective):
    store, _, folder = finished
    tasks = [{"task": "alpha", "at_least": "base"}, {"task": "beta"}]
    spec = fake_spec(
        folder,
        objective={"tasks": tasks, "goal": "pareto", **objective},
        budget={"candidates": 30},
        strategy={"name": "nsga2", "seed": 3},
    )
    return store, run(store, spec)


@pytest.fixture(scope="module")
def pareto(finished):
    return pareto_search(finished)


@pytest.fixture(scope="module")
def untested(finished):
    splits = {"search": 0.8, "validation": 0.2, "test": 0.0}
    return pareto_search(finished, splits=splits)


def test_no_candidate_of_the_search_beats_a_member_of_its_front(untested):
    store, search = untested
    front = read_results(store, search).front
    scored = {e.candidate_id: e for e in store.evaluations(search.id, Split.SEARCH)}
    tried = [
        {s.task: s.value for s in scored[c.id].scores}
        for c in store.candidates(search.id)
        if c.genome is not None and not scored[c.id].violation
    ]
    assert front.split is Split.SEARCH
    assert "which the search climbed" in read_results(store, search).sentence
    assert front.members
    for member in front.members:
        assert not any(beats(other, member.row.objectives) for other in tried)


def test_a_tested_front_is_all_that_was_tested(pareto):
    """Its members were chosen before; test documents drop none of them."""
    store, search = pareto
    front = read_results(store, search).front
    tested = {e.candidate_id for e in store.evaluations(search.id, Split.TEST)}
    own = {c.id for c in store.candidates(search.id) if c.genome is not None}
    assert front.split is Split.TEST
    assert {member.row.candidate_id for member in front.members} == tested & own
    assert front.beaten == ()
    for member in front.members:
        scores = {task: estimate.value for task, estimate in member.row.scores.items()}
        assert scores == member.row.objectives
        expected = [row.label for row in front.rivals if beats(scores, row.objectives)]
        assert list(member.beats) == expected


def beats(one, other):
    return all(one[t] >= other[t] for t in other) and any(one[t] > other[t] for t in other)


def test_the_fronts_sentence_compares_its_hypervolume_with_that_of_the_baselines(pareto):
    store, search = pareto
    results = read_results(store, search)
    front = results.front
    assert front.gain.value == pytest.approx(front.hypervolume - front.baseline_hypervolume)
    assert front.gain.low <= front.gain.value <= front.gain.high
    assert f"{front.hypervolume:.4g} against {front.baseline_hypervolume:.4g}" in results.sentence
    assert "which the search climbed" not in results.sentence
    assert "only stands in" in results.notes[-1]
    for task, worst in front.reference.items():
        assert worst == min(row.objectives[task] for row in front.rivals)
    said = [
        dataclasses.replace(
            results,
            front=dataclasses.replace(front, gain=dataclasses.replace(front.gain, value=v, low=w)),
        ).sentence
        for v, w in ((0.1, 0.05), (0.1, -0.05), (-0.1, -0.2))
    ]
    assert "reaches beyond the trivial merges" in said[0]
    assert "may be chance" in said[1]
    assert "does not reach beyond" in said[2]


def test_the_verdict_names_what_was_climbed_where_it_is_not_the_mean(finished):
    store, _, folder = finished
    tasks = [{"task": "alpha"}, {"task": "beta"}]
    spec = fake_spec(folder, objective={"tasks": tasks, "goal": "worst"}, budget={"candidates": 12})
    results = read_results(store, run(store, spec))
    assert "in the worst task on" in results.sentence
    for row in results.rows:
        assert row.fitness.value == min(score.value for score in row.scores.values())


def test_without_a_test_split_the_search_split_is_shown_with_a_warning(finished):
    store, _, folder = finished
    splits = {"search": 0.8, "validation": 0.2, "test": 0.0}
    spec = fake_spec(
        folder, objective={"tasks": [{"task": "alpha"}], "splits": splits}, budget={"candidates": 6}
    )
    results = read_results(store, run(store, spec))
    assert results.split is Split.SEARCH
    assert results.winner is not None
    assert "too good to be true" in results.notes[0]


def test_a_search_without_any_score_has_empty_results(finished):
    store, _, folder = finished
    spec = fake_spec(folder, strategy={"seed": 99})
    results = read_results(store, submit_search(store, check_search(spec, store.url)))
    assert results.rows == ()
    assert results.sentence == "No candidate of the search has been scored."
