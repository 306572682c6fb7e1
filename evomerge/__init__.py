"""Evolutionary merge search for language models.

``import evomerge`` is cheap on purpose: it loads neither torch, ray nor vllm.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evomerge.client import Client

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]


def __getattr__(name: str) -> Any:
    """`Client` is loaded when it is asked for: it brings httpx along."""
    if name == "Client":
        from evomerge.client import Client

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
