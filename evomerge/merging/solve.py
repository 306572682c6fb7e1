"""Factorisation of symmetric positive definite matrices in fp64, for methods in closed form."""

from collections.abc import Callable

import torch
from torch import Tensor

Solve = Callable[[Tensor], Tensor]


def factorise(matrix_NN: Tensor) -> Solve | None:
    """The function that gives X of A X = B, B and X [N, M] fp64; None where A is not positive definite."""
    lower_NN, failed = torch.linalg.cholesky_ex(matrix_NN)
    if bool(failed) or not bool(lower_NN.isfinite().all()):
        return None
    return lambda right_NM: torch.cholesky_solve(right_NM, lower_NN)
