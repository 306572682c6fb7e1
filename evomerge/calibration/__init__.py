"""Calibration: texts, and what is measured of a model on them, for the merge methods that use data.

    sets        texts as one content-addressed set, with the examples of each model
    statistic   what can be measured: name, scope, shape
    store       measured statistics on disk, under a hash of everything that they depend on
    collect     one statistic of one loaded model: streaming, in bounded memory, resumable
    loading     a model's parameters by the names of its checkpoint

Only `collect`, its collectors and `loading` need torch.
"""
