"""What a merge method is: a declaration of its parameters and the arithmetic on one tensor.

A method is declared once. YAML validation, search spaces, the JSON schema and the documentation
follow from the declaration. Nothing here imports torch: kernels use tensor methods only, so that
the controller, which never needs torch, can read the declarations.

A method computes in one of three ways:
  kernel        one chunk of entries at a time, from models, masks and scalars (all soups and the
                task-vector family). `trim` says which entries of a delta take part; `coefficients`
                turns inner products of the models into weights (everything that moves on spheres).
  compute       one whole tensor at a time, or one chunk where `entrywise`: free arithmetic. Methods
                from outside (entry points) use this.

A method that uses data names the `statistics` of its models that it needs. `compute` is given them;
`weigh` makes the models' weights of them, and leaves the arithmetic to a kernel.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Kind = Literal["float", "int", "bool", "choice"]
Value = float | bool | str
Values = Mapping[str, Value]


@dataclass(frozen=True)
class Parameter:
    """One knob of a method.

    `per_model` parameters have a value for each model, the others one for each tensor.
    `low`..`high` is what is accepted, `choices` for named options; `search` is the range that is
    worth searching. Without a default the parameter must be given. `resizes`: any other value than
    the default may change the shapes of tensors, which no running engine can follow. `stored`: any
    other value gives files that no engine runs.
    """

    name: str
    doc: str
    default: Value | None = None
    per_model: bool = False
    kind: Kind = "float"
    low: float = float("-inf")
    high: float = float("inf")
    low_open: bool = False
    choices: tuple[str, ...] = ()
    search: tuple[float, float] | None = None
    scale: Literal["linear", "log"] = "linear"
    resizes: bool = False
    stored: bool = False

    @property
    def required(self) -> bool:
        return self.default is None

    def accepts(self, value: float) -> bool:
        """Whether the number `value` lies in the accepted range."""
        above = value > self.low if self.low_open else value >= self.low
        whole = self.kind != "int" or float(value).is_integer()
        return above and value <= self.high and whole

    @property
    def bounds(self) -> str:
        """What is accepted, in words."""
        if self.kind == "bool":
            return "true or false"
        if self.kind == "choice":
            return " or ".join(self.choices)
        limits = [f"{'above' if self.low_open else 'at least'} {self.low:g}"] * (self.low > -np.inf)
        limits += [f"at most {self.high:g}"] * (self.high < np.inf)
        number = "a whole number" if self.kind == "int" else "any number" if not limits else ""
        return ", ".join([number, *limits] if number else limits)


class Trim(StrEnum):
    """Which entries of a delta survive before the deltas are combined."""

    NONE = "none"
    MAGNITUDE = "magnitude"
    """The largest."""
    BAND = "band"
    """The largest but for the very largest."""
    RANDOM = "random"
    """Each with the same probability."""
    RANKED = "ranked"
    """Each with a probability that grows with its rank in its row."""
    VARIANCE = "variance"
    """Where the models differ most: the same entries of every delta."""


class Inputs(NamedTuple):
    """What a kernel computes with: fp32 tensors of one chunk, C entries, and scalars as 0-d tensors.

    base_C: the base model, None for methods without one.
    models: what is combined, each [C]: deltas where there is a base, whole models otherwise.
    keeps: for each delta a boolean mask [C] of the entries that survive, a float tensor [C] of
        factors, or None for all of them.
    weights: the models' weights. coefficients: weights times the rescaling of a trimmed delta.
    divisor: what the weighted sum is divided by, 1 where weights are not normalised.
    scale: lambda. normalize: whether an election divides by the weights that agreed.
    mixed_signs: whether some weight is negative, so that sums of weights can cancel.
    vote: what is summed up to elect a sign: `sum` weighted deltas, `delta` deltas, `count` signs.
    """

    base_C: Any
    models: Sequence[Any]
    keeps: Sequence[Any]
    weights: Sequence[Any]
    coefficients: Sequence[Any]
    divisor: Any
    scale: Any
    normalize: bool
    mixed_signs: bool
    vote: str = "sum"


class Measurement(NamedTuple):
    """A statistic of one tensor of one model.

    value: fp32, as `evomerge.calibration.statistic` says (or its chunk [C] where entrywise). axis: for
        matrices of inner products the axis of the tensor that their sides stand for. total, squares,
        trace: sum of its entries, of their squares, of its diagonal. size: how many entries it has.
        model_squares: the sum of squares over all tensors of the model.
        mark: names it, and the tensor that it belongs to, among all there are.
    """

    value: Any
    axis: int
    total: float
    squares: float
    trace: float
    size: int
    model_squares: float
    mark: str


Measurements = Mapping[str, Measurement | None]
"""By statistic; None where a tensor has none: a norm has no Gram matrix."""
Keep = Callable[[tuple[object, ...], Callable[[], Any]], Any]
"""What `make` gives, under a key that must name all that it depends on."""


def keep_nothing(key: tuple[object, ...], make: Callable[[], Any]) -> Any:
    """Work it out whenever it is asked for."""
    del key
    return make()


class Tensors(NamedTuple):
    """What `compute` works on: fp32 tensors of the output's shape (or chunks [C] where entrywise).

    base: the base model's, None where the method has no base. models: whole models, never deltas.
    values: the shared parameters. own: the parameters of each model, in the order of `models`.
    name: of the output tensor. measured: the statistics of each model's tensor, where the method
    needs any. keep: remembers what candidates have in common, as far as there is room; recent: what
    the next tensors may have in common with this one. factorise: of a symmetric positive definite
    matrix A in fp64 the function that gives X of A X = B; None where A is no such matrix.
    """

    base: Any
    models: Sequence[Any]
    values: Values
    own: Sequence[Values]
    name: str
    measured: Sequence[Measurements] = ()
    keep: Keep = keep_nothing
    recent: Keep = keep_nothing
    factorise: Callable[[Any], Callable[[Any], Any] | None] = lambda matrix: None


class Measured(NamedTuple):
    """What `coefficients` works on.

    dots: inner products [..., N, N] of the N models, of their deltas where there is a base, in
        fp64; None where the method declares no `vectors`. Leading dimensions are rows or columns.
    values, own: the shared parameters and those of each model.
    """

    dots: NDArray[np.float64]
    values: Values
    own: Sequence[Values]

    @property
    def size(self) -> int:
        """N, the number of models."""
        return len(self.own)

    @property
    def norms(self) -> NDArray[np.float64]:
        """Norms [..., N] of the models."""
        squares = np.diagonal(self.dots, axis1=-2, axis2=-1)
        norms: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0.0))
        return norms

    @property
    def cosines(self) -> NDArray[np.float64]:
        """Cosines [..., N, N] in [−1, 1]; 0 where a norm is 0."""
        norms = self.norms
        products = norms[..., :, None] * norms[..., None, :]
        safe = np.where(products > 0, products, 1.0)
        cosines: NDArray[np.float64] = np.clip(
            np.where(products > 0, self.dots / safe, 0.0), -1.0, 1.0
        )
        return cosines


class Weighing(NamedTuple):
    """What `weigh` makes the weights of one tensor of.

    layer: the tensor's, as it is called in `scores`; None outside the layers. scores: of each layer
        how much it matters to each model, [N]. distances: between the models' logits, [N, N]: row i,
        column j on the texts of model j. values, own: the shared parameters and those of each model.
    """

    layer: str | None
    scores: Mapping[str, NDArray[np.float64]]
    distances: NDArray[np.float64]
    values: Values
    own: Sequence[Values]


Span = Literal["tensor", "row", "column", "model"]
"""What counts as one vector: a tensor, each of its rows or columns, or all tensors of a model."""
Kernel = Callable[[Inputs], Any]
"""One chunk of the merged tensor, fp32 [C]; changes none of its inputs."""
Compute = Callable[[Tensors], Any]
"""The merged tensor in fp32; changes none of its inputs."""
Coefficients = Callable[[Measured], NDArray[np.float64]]
"""The weight [..., N] of each model in a plain sum."""
Weigh = Callable[[Weighing], NDArray[np.float64]]
"""The `weight` [N] of each model in one tensor."""


def whole_tensor(_: Values) -> Span:
    """One vector a tensor."""
    return "tensor"


@dataclass(frozen=True)
class Method:
    """One merge method: declaration and arithmetic.

    base: `required` means deltas against it; `origin` the same where one is given, whole models
    otherwise; `endpoint` that the base is one of the models merged (slerp); `optional` that it only
    supplies shapes and tokenizer (linear).
    min_models, max_models: how many models besides a base that is not merged itself.
    check: what is wrong with parameters that are each right by themselves; None for nothing.
    statistics: what of `evomerge.calibration.statistic` it needs of its models, given the shared
        parameters; None for nothing. weigh: makes their weights of it, where there is a kernel.
    rebuilds: makes a whole model, perhaps of another structure, in `evomerge.merging.rebuilding`.
    learned: merges by what a command of its own has learned, so that no search can vary it.
    vectors: for methods with `coefficients` what their inner products are taken over; None for none.
    """

    name: str
    doc: str
    formula: str
    source: str
    parameters: tuple[Parameter, ...]
    kernel: Kernel | None = None
    compute: Compute | None = None
    entrywise: bool = False
    base: Literal["required", "origin", "optional", "endpoint"] = "optional"
    min_models: int = 1
    max_models: int | None = None
    trim: Trim = Trim.NONE
    coefficients: Coefficients | None = None
    vectors: Callable[[Values], Span] | None = None
    vote: str = "sum"
    check: Callable[[Values, Sequence[Values]], str | None] | None = None
    statistics: Callable[[Values], tuple[str, ...]] | None = None
    weigh: Weigh | None = None
    rebuilds: bool = False
    learned: bool = False

    def __post_init__(self) -> None:
        if sum((self.kernel is not None, self.compute is not None, self.rebuilds)) != 1:
            raise ValueError(f"method {self.name!r} needs either a kernel or compute")

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or None."""
        return next((known for known in self.parameters if known.name == name), None)

    def takes_deltas(self, base: object) -> bool:
        """Whether deltas are combined, given the base (None for none)."""
        return self.base == "required" or (self.base == "origin" and base is not None)
