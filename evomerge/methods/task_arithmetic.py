"""Task arithmetic: weighted deltas added to the base."""

from evomerge.methods.arithmetic import sum_kernel
from evomerge.methods.base import Method
from evomerge.methods.parameters import DELTA_WEIGHT, INT8_MASK, LAMBDA, normalize

TASK_ARITHMETIC = Method(
    name="task_arithmetic",
    doc="Adds weighted deltas to the base.",
    formula="θ₀ + λ Σ wᵢ δᵢ",
    source="Ilharco et al. 2023",
    parameters=(DELTA_WEIGHT, normalize(False), LAMBDA, INT8_MASK),
    kernel=sum_kernel,
    base="required",
)
