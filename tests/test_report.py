"""The report: one small file that needs nothing else."""

import dataclasses
import json
import re
import sys
from html.parser import HTMLParser

import pytest

from evomerge.bootstrap import Estimate
from evomerge.controller.events import ignore
from evomerge.errors import NotFoundError, ResourceError
from evomerge.fitness import Split
from evomerge.insight import Effect, Importance, Point
from evomerge.recipe import Recipe, Rule, Slice, Source, constant
from evomerge.report import write_figures, write_json, write_report
from evomerge.report.charts import (
    Scale,
    cloud_of,
    cost_bar,
    difference_chart,
    history_chart,
    importance_chart,
    lead_chart,
    pareto_chart,
    spark_line,
    ticks,
)
from evomerge.report.data import Failure, gather
from evomerge.report.heatmap import heat_maps, stacked_layers
from evomerge.report.page import render
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from tests.support import fake_spec

VOID = {"meta", "input", "br", "wbr", "circle", "line", "path", "rect", "link"}


class Page(HTMLParser):
    """Checks that tags are balanced and collects what is asked about."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    store = open_store(folder / "s.db")
    spec = fake_spec(
        folder,
        name="a <b>bold</b> name & more",
        space={
            "method": "ties",
            "weight": {"range": [0, 1.5], "per": ["model", "layer_group", "kind"]},
            "density": {"range": [0.1, 1], "per": ["model"]},
            "layer_groups": 2,
        },
    )
    search = submit_search(store, check_search(spec, store.url))
    run_search(store, search.id, make_dispatcher(spec, store.url, inline=True), ignore)
    yield store, store.search(search.id)
    store.close()


@pytest.fixture(scope="module")
def html(searched, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "r.html"
    return write_report(searched[0], searched[1].id, out).read_text(encoding="utf-8")


def test_the_report_is_one_small_wellformed_file(html):
    Page(html)
    assert len(html) < 1_500_000


def test_the_report_loads_nothing_from_anywhere(html):
    for tag, attributes in Page(html).seen:
        assert tag not in ("link", "img", "iframe")
        assert "src" not in attributes
        assert "href" not in attributes
    assert not re.search(r"url\(|@import|https?://", html)


def test_names_are_escaped(html):
    assert "<b>bold</b>" not in html
    assert "a &lt;b&gt;bold&lt;/b&gt; name &amp; more" in html


def test_it_says_the_sentence_and_shows_every_row(searched, html):
    data = gather(*searched)
    text = " ".join(Page(html).text)
    assert data.results.sentence in text
    for row in data.results.rows:
        assert row.label in text


def test_tables_name_their_rows_and_columns_for_screen_readers(html):
    scopes = [attributes.get("scope") for tag, attributes in Page(html).seen if tag == "th"]
    assert set(scopes) == {"row", "col"}
    charts = [attributes for tag, attributes in Page(html).seen if tag == "svg"]
    assert charts
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in charts)


def test_it_carries_recipe_versions_and_seed(searched, html):
    data = gather(*searched)
    text = "".join(Page(html).text)
    assert data.recipe_yaml in text
    assert "seed 7" in text
    assert f"numpy {searched[1].versions['numpy']}" in text


def test_it_follows_the_colours_and_width_of_the_reader(html):
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert "max-width: 560px" in html


def test_failures_and_messages_are_shown(searched):
    data = gather(*searched)
    failed = dataclasses.replace(
        data, failures=(Failure("candidate 3", "search", 2, "the weights cancel <here>"),)
    )
    page = render(failed)
    assert "the weights cancel &lt;here&gt;" in page
    Page(page)


def test_a_search_without_scores_still_has_a_report(searched, tmp_path):
    store, _ = searched
    spec = fake_spec(tmp_path, name="empty", strategy={"seed": 1234})
    search = submit_search(store, check_search(spec, store.url))
    page = write_report(store, search.id, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "No candidate of the search has been scored." in page
    Page(page)


def test_history_holds_the_searchs_candidates_in_order(searched):
    store, search = searched
    data = gather(store, search)
    numbers = [point.number for point in data.insight.history]
    assert numbers == sorted(numbers)
    scored = store.evaluations(search.id, Split.SEARCH)
    assert len(numbers) < len(scored)
    assert data.baselines[0][1] >= data.baselines[-1][1]


def test_an_older_report_is_replaced_and_nothing_else_is(searched, tmp_path):
    store, search = searched
    out = tmp_path / "r.html"
    write_report(store, search.id, out)
    write_report(store, search.id, out)
    out.write_text("my notes", encoding="utf-8")
    with pytest.raises(ResourceError, match="no report"):
        write_report(store, search.id, out)
    assert out.read_text(encoding="utf-8") == "my notes"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("place", ["", "no/such/folder/r.html"])
def test_a_place_that_cannot_be_written_is_refused(searched, tmp_path, place):
    with pytest.raises(ResourceError):
        write_report(searched[0], searched[1].id, tmp_path / place)


def test_an_unknown_search_is_refused(searched, tmp_path):
    with pytest.raises(NotFoundError):
        write_report(searched[0], "nope", tmp_path / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_ticks_are_round_and_inside_the_range():
    assert ticks(0.13, 0.87) == [0.2, 0.4, 0.6, 0.8]
    assert ticks(-0.02, 0.05, 4) == [-0.02, 0.0, 0.02, 0.04]
    assert ticks(1.0, 1.0) == [1.0]


def test_scales_map_ends_to_ends():
    scale = Scale(2, 4, 100, 0)
    assert (scale(2), scale(3), scale(4)) == (100, 50, 0)


def test_charts_of_nothing_are_empty(searched):
    assert history_chart([], [], 500) == ""
    assert cost_bar({"merge": 0.0}, 500) == ""
    results = dataclasses.replace(gather(*searched).results, baselines=())
    assert lead_chart(results, 500) == ""


def test_ten_thousand_candidates_still_make_a_small_chart():
    points = [point(n, 0.5 + n * 1e-5, best=0.5 + n * 1e-5) for n in range(10_000)]
    assert len(history_chart(points, [("base", 0.4)], 900)) < 700_000


def point(number, fitness, **more):
    given = {"feasible": True, "dropped": False, "documents": 100 * number, "best": None, **more}
    return Point(number=number, label=f"candidate {number}", fitness=fitness, **given)


def test_a_dropped_candidate_and_one_that_misses_a_constraint_are_drawn_as_such():
    chart = history_chart(
        [point(0, 0.5, best=0.5), point(1, 0.9, dropped=True), point(2, 0.8, feasible=False)],
        [],
        900,
    )
    assert chart.count('class="dropped"') == chart.count("candidate 1: 0.9000, dropped early") == 1
    assert chart.count('class="dot infeasible"') == 1
    assert "best 0.5000" in chart


def test_the_history_by_documents_has_the_documents_on_its_axis():
    points = [point(0, 0.5, documents=300, best=0.5), point(1, 0.6, documents=420, best=0.6)]
    assert ">400<" in history_chart(points, [], 900, by_documents=True)
    assert ">400<" not in history_chart(points, [], 900)


def test_bars_of_importance_say_their_shares():
    effects = [
        Effect("weight · x", Estimate(0.4, 0.3, 0.5)),
        Effect("density", Estimate(0.01, -0.01, 0.02)),
    ]
    for width in (900, 340):
        chart = importance_chart(effects, width)
        assert "weight · x: 40 % (30 to 50)" in chart
        assert chart.count('class="bar sure"') == chart.count('class="bar"') == 1
    assert importance_chart([], 900) == ""


def test_a_phones_history_has_few_dots_and_the_best_baselines_name_alone():
    points = [point(n, 0.5 + n * 1e-5, best=0.5 + n * 1e-5) for n in range(2000)]
    baselines = [("TIES", 0.45), ("base", 0.4)]
    desk, phone = (history_chart(points, baselines, width) for width in (900, 340))
    assert phone.count("<circle") < 300 < desk.count("<circle")
    assert ">base</text>" in desk
    assert ">base</text>" not in phone
    assert ">TIES</text>" in phone


def test_a_sampled_history_says_how_many_there_are():
    chart = history_chart([point(0, 0.5), point(50, 0.6, best=0.6)], [], 900, sampled_from=100)
    assert "Search fitness of 100 candidates, of which 2 are drawn" in chart


def test_a_spark_line_goes_from_the_first_to_the_best_and_on_to_the_last():
    chart = spark_line([(10, 0.5), (40, 0.7)], 110)
    assert 'aria-label="Best so far: from 0.5000 to 0.7000"' in chart
    (steps,) = re.findall(r'<path d="([^"]+)"', chart)
    start, *places = [float(n) for n in re.findall(r"[MH](-?[\d.]+)", steps)]
    assert start < places[0] < places[-1]
    assert places[0] - start == pytest.approx(0.3 * (places[-1] - start), abs=0.2)
    assert spark_line([], 10) == spark_line([(1, 0.5)], 10) == ""


def test_differences_that_leave_out_zero_are_drawn_as_sure():
    rows = [("a", Estimate(0.2, 0.1, 0.3)), ("b", Estimate(-0.2, -0.3, -0.1))]
    rows += [("c", Estimate(0.1, -0.1, 0.3)), ("<d>", Estimate(0.1))]
    chart = difference_chart("Difference", rows, 900)
    assert chart.count("<circle") == 4
    assert len(re.findall(r'<circle[^>]*class="lead sure"', chart)) == 2
    assert "a +0.2000 (+0.1000 to +0.3000)" in chart
    assert "&lt;d&gt;" in chart
    assert difference_chart("Difference", [], 900) == ""


def test_the_parts_of_the_time_are_named_where_there_is_room():
    chart = cost_bar({"merge": 1.0, "forward": 98.0, "lost": 1.0}, 900)
    assert ">forward</text>" in chart
    assert ">lost</text>" not in chart
    assert "lost 1.0 seconds" in chart


@pytest.fixture(scope="module")
def pareto(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pareto")
    store = open_store(folder / "s.db")
    tasks = [{"task": "alpha"}, {"task": "beta"}, {"task": "<gamma>"}]
    spec = fake_spec(
        folder,
        objective={"goal": "pareto", "tasks": tasks},
        budget={"candidates": 36},
        strategy={"name": "nsga2", "seed": 3},
    )
    search = submit_search(store, check_search(spec, store.url))
    run_search(store, search.id, make_dispatcher(spec, store.url, inline=True), ignore)
    yield store, store.search(search.id)
    store.close()


def test_the_report_of_several_objectives_shows_the_front_from_every_side(pareto):
    data = gather(*pareto)
    page = render(data)
    Page(page)
    front = data.results.front
    assert data.results.sentence in page
    for member in front.members:
        assert member.row.label in page
    assert page.count("merges of the front by") == 2 * 3  # wide and narrow, three pairs
    assert "<gamma>" not in page
    chart = pareto_chart(cloud_of(front), "alpha", "beta", 900)
    assert chart.count('class="member"') == len(front.members)
    assert chart.count('class="dot"') == len(front.beaten)
    assert all(row.label in chart for row in front.rivals)


def test_what_mattered_is_shown_where_something_can_be_said(searched):
    data = gather(*searched)
    assert "too few" in render(data)
    effects = tuple(
        Effect(f"weight · {name}", Estimate(0.3, 0.2, 0.4)) for name in ("code", "maths")
    )
    known = Importance(
        120, Estimate(0.7, 0.6, 0.8), features=effects, groups={"model": effects}, note=None
    )
    insight = dataclasses.replace(data.insight, importance=known)
    page = render(dataclasses.replace(data, insight=insight))
    Page(page)
    assert "weight · code: 30 % (20 to 40)" in page
    assert "by model" in page


def test_the_page_carries_its_data_and_the_json_file_is_the_same(searched, html, tmp_path):
    store, search = searched
    written = write_json(store, search.id, tmp_path / "r.json").read_text(encoding="utf-8")
    content = json.loads(written)
    (carried,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert json.loads(carried) == content
    data = gather(store, search)
    assert content["sentence"] == data.results.sentence
    assert content["results"]["optimism"]["sentence"] == data.results.optimism.sentence
    assert len(content["history"]) == len(data.insight.history)
    assert content["search"]["name"] == "a <b>bold</b> name & more"
    assert content["recipe"]["merge_method"] == "ties"
    assert set(content["spending"]["seconds"]) >= {"merge", "forward", "waiting"}


def test_json_replaces_json_and_nothing_else(searched, tmp_path):
    store, search = searched
    out = tmp_path / "r.json"
    write_json(store, search.id, out)
    write_json(store, search.id, out)
    out.write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(ResourceError, match="no report"):
        write_json(store, search.id, out)


def test_every_chart_is_a_png_of_its_own(pareto, tmp_path):
    store, search = pareto
    files = write_figures(store, search.id, tmp_path / "figures")
    names = [file.name for file in files]
    assert {"leads.png", "history.png", "history_by_documents.png", "time.png"} <= set(names)
    assert {"front_alpha_beta.png", "recipe_weight.png"} <= set(names)
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert len(set(names)) == len(names)


def test_without_matplotlib_it_is_said_how_to_get_it(searched, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ResourceError, match=r"evomerge\[insight\]"):
        write_figures(searched[0], searched[1].id, tmp_path / "figures")


def test_heat_maps_join_neighbouring_layers_and_order_places():
    weight = (
        Rule(filter="lm_head.weight", value=0.9),
        Rule(filter="model.embed_tokens.weight", value=0.1),
        Rule(filter="attn", value=(0.2, 0.2, 0.4, 0.4)),
        Rule(value=(0.3, 0.3, 0.3, 0.5)),
    )
    recipe = Recipe(
        merge_method="task_arithmetic",
        base_model="b",
        models=(Source(model="/models/x", parameters={"weight": weight}),),
    )
    (found,) = heat_maps(recipe)
    assert found.columns == ("0–1", "2", "3")
    assert [(row.model, row.place, row.values) for row in found.rows] == [
        ("x", "embedding", (0.1,)),
        ("x", "attention", (0.2, 0.4, 0.4)),
        ("x", "mlp and the rest", (0.3, 0.3, 0.5)),
        ("x", "head", (0.9,)),
    ]
    assert found.peak == 0.9


def test_switches_are_not_drawn():
    recipe = Recipe(
        merge_method="ties",
        base_model="b",
        models=(Source(model="x", parameters={"weight": (Rule(value=1.0),)}),),
        parameters={"normalize": (Rule(value=True),)},
    )
    assert [found.parameter for found in heat_maps(recipe)] == ["weight"]


def test_options_are_not_drawn():
    recipe = Recipe(
        merge_method="ties",
        base_model="b",
        models=(Source(model="a", parameters={"weight": constant(0.5)}),),
        parameters={"election": constant("count"), "scope": constant("model")},
    )
    assert [found.parameter for found in heat_maps(recipe)] == ["weight"]


def test_a_stack_is_shown_as_runs_of_layers():
    def run(model, start, end):
        return Slice(sources=(Source(model=f"/models/{model}", layer_range=(start, end)),))

    slices = (run("x", 0, 2), run("x", 2, 4), run("y", 3, 4), run("x", 1, 3))
    stack = Recipe(merge_method="passthrough", slices=slices)
    assert stacked_layers(stack) == (("x", "0–3"), ("y", "3"), ("x", "1–2"))
    mixed = Slice(sources=(*slices[0].sources, *run("y", 0, 2).sources))
    assert stacked_layers(Recipe(merge_method="ties", slices=(mixed,))) == ()
