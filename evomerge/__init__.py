"""Evolutionary merge search for language models.

``import evomerge`` is cheap on purpose: it loads neither torch, ray nor vllm.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evomerge.client import Client

    __version__: str
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """`Client` is loaded when it is asked for, as it brings httpx along; the version is looked up then."""
    if name == "Client":
        from evomerge.client import Client

        return Client
    if name == "__version__":
        return _version()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _version() -> str:
    """What was installed: git's tag and commits at that time."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("evomerge")
    except PackageNotFoundError:  # a folder on the path, never installed
        return "0+unknown"
