"""The task-vector family: deltas against a base are trimmed, elected and added back."""

from typing import Any

from evomerge.methods.base import Method, Parameter, Trim


def sum_kernel(*args: Any) -> Any:
    raise NotImplementedError


def elect_kernel(*args: Any) -> Any:
    raise NotImplementedError


WEIGHT = Parameter("weight", "weight of a model's delta", None, per_model=True, search=(0.0, 1.5))
LAMBDA = Parameter("lambda", "scale of the merged delta", 1.0, search=(0.1, 2.0))
INT8_MASK = Parameter("int8_mask", "accepted and without effect", False, kind="bool")


def _density(search: tuple[float, float], scale: Any) -> Parameter:
    return Parameter(
        "density",
        "share of the delta's entries that are kept",
        1.0,
        per_model=True,
        low=0.0,
        high=1.0,
        low_open=True,
        search=search,
        scale=scale,
    )


def _method(name: str, doc: str, formula: str, source: str, *, elect: bool, trim: Trim) -> Method:
    random = trim is Trim.RANDOM
    density = _density((0.01, 1.0), "log") if random else _density((0.05, 1.0), "linear")
    return Method(
        name=name,
        doc=doc,
        formula=formula,
        source=source,
        parameters=(
            WEIGHT,
            *([] if trim is Trim.NONE else [density]),
            Parameter("normalize", "divide by the sum of the weights", name == "ties", kind="bool"),
            LAMBDA,
            *(
                [Parameter("rescale", "keep the L1 norm of a trimmed delta", True, kind="bool")]
                if random
                else []
            ),
            INT8_MASK,
        ),
        kernel=elect_kernel if elect else sum_kernel,
        base="required",
        trim=trim,
    )


TASK_ARITHMETIC = _method(
    "task_arithmetic",
    "Adds weighted deltas to the base.",
    "θ₀ + λ Σ wᵢ δᵢ",
    "Ilharco et al. 2023; METHODS.md section 2",
    elect=False,
    trim=Trim.NONE,
)
TIES = _method(
    "ties",
    "Keeps each delta's largest entries, elects a sign per entry, averages those that agree.",
    "θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ / Σ wᵢ mᵢ,  mᵢ = [sgn(wᵢ δ̂ᵢ) = sgn(Σ wⱼ δ̂ⱼ)]",
    "Yadav et al. 2023; METHODS.md section 2",
    elect=True,
    trim=Trim.MAGNITUDE,
)
DARE_LINEAR = _method(
    "dare_linear",
    "Drops entries of each delta at random, rescales the rest, adds them to the base.",
    "θ₀ + λ Σ wᵢ δ̂ᵢ",
    "Yu et al. 2024; METHODS.md section 2",
    elect=False,
    trim=Trim.RANDOM,
)
DARE_TIES = _method(
    "dare_ties",
    "DARE's random masks with TIES' sign election.",
    "θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ",
    "Yu et al. 2024; METHODS.md section 2",
    elect=True,
    trim=Trim.RANDOM,
)
