"""Permutations: the units of two networks brought into one order, and merges that keep some apart.

groups         sets of tensor axes that share one order of units
transformers   those of a transformer, from the names of its tensors; `resnets` those of a ResNet
permute        tensors in another order of units
weights        matching by weights; `activations` by what the units answer
widths         partial merges: which units become one, which stay two (PLeaS)
allocation     which groups stay apart under a budget (PLeaS)
squares        the merged weights that answer most like both networks; `convolutions` those (PLeaS)
experts        groups of experts and their merges; `compression` makes experts smaller (M-SMoE, MC-SMoE)
"""
