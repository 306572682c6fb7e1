"""A study whose models vLLM answers for, as it does in searches, beside the same one on Hugging Face."""

import pytest

from evomerge.zoo.families import FamilyConfig, Pair, Size
from tests.study.test_end_to_end import TUNED_SPACE, study, write_real_study

FAMILY = FamilyConfig(
    (Size("tiny", 64, 2, 2, 128),),  # heads of 32: the smallest that vLLM has for a CPU
    (Pair("reverse", "ah"), Pair("sort", "jo")),
    skilled_steps=60,
    unsure_steps=10,
    expert_steps=15,
    documents=60,
    batch_size=32,
)
TUNED = {"name": "tuned", "method": "task_arithmetic", "policy": "tuned", "candidates": 3}
METHODS = [
    {"name": "average", "method": "linear"},
    {"name": "RegMean", "method": "regmean"},
    {**TUNED, "space": TUNED_SPACE},
    {"name": "searched", "method": "task_arithmetic", "policy": "searched", "candidates": 3},
]


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.timeout(1800)
def test_vllm_answers_a_studys_tasks_as_hugging_face_does(tmp_path):
    pytest.importorskip("vllm")
    from evomerge.zoo.family_build import build_family

    zoo = build_family(FAMILY, tmp_path / "zoo")
    found = {}
    for name in ("vllm", "hf"):
        engine = {"name": name, "dtype": "float32", "max_model_len": 32}
        file = write_real_study(zoo, FAMILY, methods=METHODS, engine=engine)
        found[name] = study(file, tmp_path / name)
    assert all(one["failures"] == [] for one in found.values())
    given = {"base", "average", "RegMean"}  # what is chosen by scores may differ with one of them
    scores = {
        name: [row["scores"] for row in one["scores"] if row["label"] in given]
        for name, one in found.items()
    }
    assert len(scores["hf"]) == 3
    for ours, theirs in zip(scores["vllm"], scores["hf"], strict=True):
        for task, score in theirs.items():
            assert ours[task]["value"] == pytest.approx(score["value"], abs=0.06)
