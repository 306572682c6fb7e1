"""The main job, as a user meets it: `evomerge demo` on a real engine, from training to export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> dict:
    """What `evomerge demo --format json` prints; runs once for all tests here."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "evomerge", "demo", "--out", str(folder), "--format", "json"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.engine
@pytest.mark.timeout(1800)
def test_the_winner_beats_every_trivial_merge_by_more_than_chance(demo):
    labels = {row["label"] for row in demo["baselines"]}
    assert labels >= {
        "base",
        "uniform average",
        "greedy soup",
        "task arithmetic",
        "TIES",
        "DARE-TIES",
    }
    assert sum(label.startswith("expert") for label in labels) == 4
    for row in demo["baselines"]:
        assert row["lead"]["low"] > 0, row["label"]


@pytest.mark.engine
@pytest.mark.timeout(1800)
def test_the_winner_was_chosen_before_the_test_documents_were_seen(demo):
    assert demo["split"] == "test"
    assert min(demo["documents"].values()) > 500


@pytest.mark.engine
@pytest.mark.timeout(1800)
def test_the_demo_leaves_a_checkpoint_a_recipe_and_a_report(demo):
    checkpoint, report = Path(demo["checkpoint"]), Path(demo["report"])
    names = {file.name for file in checkpoint.iterdir()}
    assert {"config.json", "tokenizer.json", "mergekit_config.yml", "README.md"} <= names
    assert any(name.endswith(".safetensors") for name in names)
    card = (checkpoint / "README.md").read_text(encoding="utf-8")
    assert "base_model_relation: merge" in card
    assert "mergekit" in card
    assert demo["recipe_yaml"] == (checkpoint / "mergekit_config.yml").read_text(encoding="utf-8")
    assert "<table" in report.read_text(encoding="utf-8")
