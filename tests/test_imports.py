"""What `import` costs: the controller's side never loads an engine.

import-linter (pyproject.toml) reads the source; these tests look at a running interpreter, and at
the functions that hide the imports which the contracts let pass.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ENGINES = ("torch", "ray", "vllm", "transformers", "lm_eval")
LIGHT = ("evomerge", "evomerge.space", "evomerge.spec", "evomerge.store", "evomerge.strategy")


@pytest.mark.parametrize("module", [*LIGHT, "evomerge.controller", "evomerge.cli"])
def test_importing_a_module_of_the_controllers_side_loads_no_engine(module: str) -> None:
    code = f"import sys, {module}; print([m for m in {ENGINES} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_imports_that_the_contracts_let_pass_as_lazy_stand_inside_functions() -> None:
    eager = []
    for package in ("evaluation", "dispatch"):
        source = (ROOT / "evomerge" / package / "__init__.py").read_text(encoding="utf-8")
        eager += [name for name in _top_level_imports(source) if _loads_engine(name)]
    assert eager == []


def _top_level_imports(source: str) -> list[str]:
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def _loads_engine(name: str) -> bool:
    """Whether importing `name` at once brings an engine in; found out in the source alone."""
    if name.split(".", maxsplit=1)[0] in ENGINES:
        return True
    file = ROOT / (name.replace(".", "/") + ".py")
    if not name.startswith("evomerge.") or not file.is_file():
        return False
    return any(
        _loads_engine(inner) for inner in _top_level_imports(file.read_text(encoding="utf-8"))
    )
