"""A real study from end to end: models that are trained, statistics, learning, tuning, a search, reports."""

import json
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from evomerge.zoo.families import FamilyConfig, Pair, Size

PAIRS = (Pair("reverse", "ah"), Pair("sort", "jo"))
TINY = FamilyConfig(
    (Size("tiny", 32, 2, 2, 64),),
    PAIRS,
    skilled_steps=20,
    unsure_steps=5,
    expert_steps=5,
    documents=30,
    batch_size=16,
)
TUNED_SPACE = {"method": "task_arithmetic", "weight": 1.0, "lambda": {"range": [0.1, 1.5]}}
METHODS = [
    {"name": "average", "method": "linear"},
    {"name": "RegMean", "method": "regmean"},
    {"name": "MaTS", "method": "mats", "parameters": {"iterations": 3}},
    {
        "name": "tuned",
        "method": "task_arithmetic",
        "policy": "tuned",
        "candidates": 3,
        "space": TUNED_SPACE,
    },
    {"name": "DAM", "method": "dam", "parameters": {"steps": 2}},
    {
        "name": "searched",
        "method": "task_arithmetic",
        "policy": "searched",
        "candidates": 4,
        "after": "DAM",
    },
    {"name": "polished", "method": "dam", "parameters": {"steps": 2}, "after": "searched"},
]


@pytest.mark.slow
def test_a_study_of_real_models_runs_and_goes_on_without_asking_them_again(tmp_path):
    pytest.importorskip("torch")
    from evomerge.zoo.family_build import build_family

    zoo = build_family(TINY, tmp_path / "zoo")
    file = write_real_study(zoo, TINY, methods=METHODS)
    first = study(file, tmp_path / "out")
    assert first["failures"] == []
    found = {row["label"]: row["measures"] for row in first["measures"]}
    assert {entry["name"] for entry in METHODS} < set(found)
    assert all(set(row) == {"held-in", "combination", "held-out"} for row in found.values())
    costs = {cost["label"]: cost for cost in first["costs"]}
    assert costs["RegMean"]["statistics_flops"] > 0
    assert costs["RegMean"]["merge_flops"] > costs["average"]["merge_flops"]
    assert costs["DAM"]["choice_flops"] > 0
    assert study(file, tmp_path / "out") == first


def write_real_study(zoo, family, **changes):
    """A study of a family of one size, beside its models."""
    file, size = zoo / "study.yml", family.sizes[0].name
    experts = [
        {"model": f"{size}/{pair.name}", "skill": pair.skill, "factor": pair.language}
        for pair in family.pairs
    ]
    content = {
        "name": "real",
        "factor": "language",
        "bases": [{"model": f"{size}/base", "multitask": f"{size}/multitask", "experts": experts}],
        "tasks": [
            {"task": pair.name, "skill": pair.skill, "factor": pair.language}
            for pair in family.tasks
        ],
        "evaluation": {"include_path": "tasks"},
        "engine": {"name": "hf", "dtype": "float32", "max_model_len": 32},
        "calibration": {"examples": 4, "max_length": 32},
        **changes,
    }
    with file.open("w", encoding="utf-8") as stream:
        YAML().dump(content, stream)
    return file


def study(file, out):
    command = [sys.executable, "-m", "evomerge", "study", str(file), "--inline", "--json"]
    done = subprocess.run(
        [*command, "--out", str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)
