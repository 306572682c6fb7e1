"""Methods of other packages: declared as evomerge's own, found by their entry point."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.merging.checkpoints import random_weights, save, tuned

MODULE = '''
from evomerge.methods import Method, Parameter, Tensors


def mixed(tensors: Tensors):
    """Somewhere between the base and the mean of the models."""
    share = tensors.values["share"]
    mean = sum(tensors.models) / len(tensors.models)
    return tensors.base * (1 - share) + mean * share


HALFWAY = Method(
    name="halfway",
    doc="Between the base and the mean of the models.",
    formula="(1-s) base + s mean",
    source="nobody",
    parameters=(Parameter("share", "of the mean", 0.5, low=0.0, high=1.0, search=(0.0, 1.0)),),
    compute=mixed,
    entrywise=True,
    base="required",
)
OTHER = 3
'''
ENTRIES = """[evomerge.methods]
halfway = my_methods:HALFWAY
absent = my_methods:ABSENT
other = my_methods:OTHER
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A package that registers methods, as pip would leave it; and three models."""
    site = tmp_path_factory.mktemp("site")
    (site / "my_methods.py").write_text(MODULE)
    info = site / "my_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    folder = tmp_path_factory.mktemp("models")
    base = random_weights({"model.layers.0.mlp.up_proj.weight": (300, 400)}, 0, torch.float32)
    save(folder / "base", base)
    save(folder / "a", tuned(base, 1))
    save(folder / "b", tuned(base, 2))
    return site, folder


def run(installed, method, *arguments, config=""):
    site, folder = installed
    text = (
        f"merge_method: {method}\nbase_model: base\nmodels: [{{model: a}}, {{model: b}}]\n{config}"
    )
    (folder / "c.yml").write_text(text)
    command = [sys.executable, "-m", "evomerge", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_a_method_of_another_package_merges(installed):
    done = run(installed, "halfway", "merge", "c.yml", "out", config="parameters: {share: 0.25}\n")
    assert done.returncode == 0, done.stderr
    weights = {
        name: next(iter(load_file(installed[1] / name / "model.safetensors").values()))
        for name in ("base", "a", "b", "out")
    }
    wanted = weights["base"] * 0.75 + (weights["a"] + weights["b"]) / 2 * 0.25
    assert torch.allclose(weights["out"], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "config", "said"),
    [
        ("halfway", "parameters: {share: 2}\n", "at most 1"),
        ("halfway", "parameters: {shares: 0.5}\n", "share"),
        ("halfwy", "", "halfway"),
        ("absent", "", "cannot be loaded from my_methods:ABSENT"),
        ("other", "", "is no evomerge.methods.Method"),
    ],
)
def test_mistakes_are_said_as_for_any_method(installed, method, config, said):
    done = run(installed, method, "merge", "c.yml", "refused", config=config)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_search_space_may_name_it(installed):
    script = (
        "from evomerge.space import SpaceSpec;"
        "print(SpaceSpec.model_validate({'method': 'halfway', 'share': {'range': [0, 1]}}))"
    )
    site, folder = installed
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
