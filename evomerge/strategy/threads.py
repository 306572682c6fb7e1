"""Linear algebra on one thread: the same bits whatever the number of cores, and fast on small matrices.

A sum that BLAS divides among threads is rounded in another order, and a resumed search would ask for
genomes that differ in the last bit from those it has stored.
"""

from contextlib import AbstractContextManager

import numpy as np  # its BLAS has to be loaded before it can be found
import scipy.linalg
from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]

_LOADED = (np.linalg, scipy.linalg)
_CONTROLLER = ThreadpoolController()


def one_thread() -> AbstractContextManager[object]:
    """While it is open, BLAS in this process uses one thread."""
    limits: AbstractContextManager[object] = _CONTROLLER.limit(limits=1, user_api="blas")
    return limits
