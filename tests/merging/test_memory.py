"""A merge holds a few tensors, whatever the size of the model."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
ROWS, COLUMNS, LAYERS = 500, 4000, 48
SCRIPT = """
import sys
from pathlib import Path
from evomerge.merging.offline import merge_config
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
merge_config(Path("small.yml"), Path("warm"))  # what loading libraries takes is not the merge's
before = peak()
merge_config(Path("large.yml"), Path("out"))
print(peak() - before)
"""


@pytest.mark.parametrize(
    "method",
    [
        *("linear", "ties", "della"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("sce", "arcee_fusion")),
    ],
)
def test_memory_does_not_grow_with_the_number_of_tensors(tmp_path, method):
    """Four models of 192 MB each in tensors of 4 MB; the merge takes eight times four of those at most."""
    count = 1 if method == "arcee_fusion" else 3
    names = ["base", "a", "b", "c"][: count + 1]
    for size, layers in (("small", 1), ("large", LAYERS)):
        generator = torch.Generator().manual_seed(0)
        for name in names:
            folder = tmp_path / size / name
            folder.mkdir(parents=True)
            weights = {
                f"layers.{i}.w": (torch.randn(ROWS, COLUMNS, generator=generator) * 0.02).bfloat16()
                for i in range(layers)
            }
            save_file(weights, folder / "model.safetensors")
            (folder / "config.json").write_text("{}")
        own = {"linear": "{weight: 1}", "ties": "{weight: 1, density: 0.3}"}
        own |= {"della": "{weight: 1, density: 0.5}"}
        models = "".join(
            f"  - {{model: {size}/{name}, parameters: {own.get(method, '{}')}}}\n"
            for name in names[1:]
        )
        text = f"merge_method: {method}\nbase_model: {size}/base\nmodels:\n{models}"
        (tmp_path / f"{size}.yml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    group = 4 * ROWS * COLUMNS * 2
    assert int(done.stdout.splitlines()[-1]) < 8 * group
