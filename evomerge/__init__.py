"""Evolutionary merge search for language models.

``import evomerge`` is cheap on purpose: it loads neither torch, ray nor vllm.
"""

__version__ = "0.1.0"
