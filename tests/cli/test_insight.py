"""`insight`, and the kinds of `report`, as a shell calls them."""

import json

import pytest


def test_insight_says_why_it_says_nothing_and_where_the_time_went(evomerge, finished):
    done = evomerge("insight", "done-one", "--store", finished.store)
    assert done.code == 0
    assert "too few" in done.out
    assert "waiting" in done.out
    assert "documents answered" in done.out


def test_insight_as_json_has_the_course_of_the_search(evomerge, finished):
    found = evomerge("insight", "done-one", "--store", finished.store, "--format", "json").json
    assert len(found["history"]) == found["spending"]["documents"]["candidates"]
    assert found["importance"]["candidates"] > 0


def test_a_report_may_be_a_page_its_data_or_its_charts(evomerge, finished, tmp_path):
    def written(kind, out):
        done = evomerge(
            *("report", "done-one", "--as", kind, "--out", tmp_path / out),
            *("--store", finished.store, "--format", "json"),
        )
        assert done.code == 0, done.err
        return done.json["report"]

    assert written("html", "r.html") == str(tmp_path / "r.html")
    content = json.loads((tmp_path / "r.json").read_text()) if written("json", "r.json") else {}
    assert content["sentence"].startswith("The search")
    assert all(file.endswith(".png") for file in written("png", "charts"))


def test_best_of_a_search_says_how_far_its_scores_can_be_trusted(evomerge, finished):
    done = evomerge("best", "--search", "done-one", "--store", finished.store)
    assert "too high from the choice alone" in done.err
    plain = evomerge("best", "--store", finished.store)
    assert "too high" not in plain.err


@pytest.mark.parametrize("format", ["table", "json"])
def test_watching_a_finished_search_says_how_far_its_scores_can_be_trusted(
    evomerge, finished, format
):
    done = evomerge("watch", "done-one", "--store", finished.store, "--format", format)
    assert "on the search documents and" in done.out
