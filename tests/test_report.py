"""The report: one small file that needs nothing else."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from evomerge.controller.events import ignore
from evomerge.errors import NotFoundError, ResourceError
from evomerge.fitness import Split
from evomerge.recipe import Recipe, Rule, Source, constant
from evomerge.report import write_report
from evomerge.report.charts import Scale, cost_bar, history_chart, lead_chart, ticks
from evomerge.report.data import Failure, Point, gather
from evomerge.report.heatmap import heat_maps
from evomerge.report.page import render
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from tests.support import fake_spec

VOID = {"meta", "br", "wbr", "circle", "line", "path", "rect", "link"}


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
    numbers = [point.number for point in data.history]
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
    points = [Point(n, f"candidate {n}", 0.5 + n * 1e-5, True) for n in range(10_000)]
    assert len(history_chart(points, [("base", 0.4)], 900)) < 700_000


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
