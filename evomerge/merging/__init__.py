"""Merging: a recipe and checkpoints in, merged tensors out.

Start at `merge` (tensors one at a time), `offline` (a folder), `mergekit_yaml` (configurations in
and out). This file imports nothing, so that the torch-free parts can be used without torch.
"""
