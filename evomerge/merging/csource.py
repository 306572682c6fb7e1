"""C source of one fused loop, for one method, number of models and set of dtypes.

It says what `kernels.make_step` says, for one entry at a time. Names: o the base, x, d, a the model,
its delta, its weighted and trimmed delta; w, c, t weight, coefficient, threshold; s a sign bit.
"""

from dataclasses import dataclass

import torch

from evomerge.merging.kernels import FLOATS_PER_MODEL, INTS_PER_MODEL, Variant
from evomerge.methods import Trim, get_method
from evomerge.methods.amounts import CANCEL
from evomerge.methods.base import Kernel
from evomerge.methods.linear import linear_kernel
from evomerge.methods.task_vectors import TINY, sum_kernel

CODES = {torch.bfloat16: "b16", torch.float32: "f32"}
_TYPES = {"b16": "uint16_t", "f32": "float"}

_HEAD = """\
#include <stdint.h>
#include <string.h>

static inline float as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t as_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float read_b16(uint16_t x) { return as_float((uint32_t)x << 16); }
static inline float read_f32(float x) { return x; }
static inline float write_f32(float x) { return x; }
static inline uint16_t write_b16(float x) {
    uint32_t u = as_bits(x);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
static inline uint32_t mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) * 0x735a2d97u;
    return x ^ (x >> 15);
}
"""


@dataclass(frozen=True)
class Loop:
    """What the source depends on. `inputs` are dtype codes, base first where there is one."""

    form: str
    trim: Trim
    relative: bool
    normalize: bool
    mixed_signs: bool
    inputs: tuple[str, ...]
    out: str

    @classmethod
    def of(cls, variant: Variant, inputs: tuple[torch.dtype, ...], out: torch.dtype) -> "Loop":
        """The loop of a kernel variant over these dtypes."""
        method = get_method(variant.method)
        names: dict[Kernel, str] = {linear_kernel: "linear", sum_kernel: "sum"}
        return cls(
            form=names.get(method.kernel, "elect"),
            trim=method.trim,
            relative=method.base == "required",
            normalize=variant.normalize,
            mixed_signs=variant.mixed_signs,
            inputs=tuple(CODES[dtype] for dtype in inputs),
            out=CODES[out],
        )

    @property
    def models(self) -> range:
        return range(len(self.inputs) - self.relative)


def source(loop: Loop) -> str:
    """The whole file; it exports `run(n, inputs, out, floats, ints)`, which returns the peak."""
    body = "\n".join(f"            {line}" for line in _entry(loop))
    setup = "\n".join(f"    {line}" for line in _setup(loop))
    ends = "\n".join(f"        {line}" for line in _segment(loop))
    out = _TYPES[loop.out]
    return f"""{_HEAD}
float run(int64_t n, const void *const *inputs, void *target, const float *f, const int32_t *g)
{{
    {out} *restrict out = target;
    uint32_t peak = 0;
{setup}
    for (int32_t start = 0; start < n;) {{
        int32_t end = (int32_t)n;
{ends}
        for (int32_t i = start; i < end; i++) {{
{body}
            uint32_t size = as_bits(r) & 0x7fffffffu;
            peak = size > peak ? size : peak;
            out[i] = write_{loop.out}(r);
        }}
        start = end;
    }}
    return as_float(peak);
}}
"""


def _setup(loop: Loop) -> list[str]:
    """Pointers and scalars as locals."""
    lines = []
    names = ["o_", *(f"x{i}_" for i in loop.models)][0 if loop.relative else 1 :]
    for place, (name, code) in enumerate(zip(names, loop.inputs, strict=True)):
        lines.append(f"const {_TYPES[code]} *restrict {name} = inputs[{place}];")
    for i in loop.models:
        at, key = FLOATS_PER_MODEL * i, INTS_PER_MODEL * i
        lines.append(f"const float w{i} = f[{at}], c{i} = f[{at + 1}];")
        if loop.trim is Trim.MAGNITUDE:
            lines.append(f"const float at{i} = f[{at + 2}], above{i} = f[{at + 3}];")
            lines.append(f"const int32_t cut{i} = g[{key}];")
        if loop.trim is Trim.RANDOM:
            lines.append(f"const int32_t limit{i} = g[{key + 1}];")
            lines.append(
                f"const uint32_t p{i} = (uint32_t)g[{key + 2}], q{i} = (uint32_t)g[{key + 3}];"
            )
    count = len(loop.models)
    lines.append(f"const uint32_t first = (uint32_t)g[{INTS_PER_MODEL * count}];")
    lines.append(f"const float divisor = f[{FLOATS_PER_MODEL * count}];")
    lines.append(f"const float scale = f[{FLOATS_PER_MODEL * count + 1}];")
    lines.append("(void)first; (void)divisor; (void)scale;")
    return [*lines, *(f"(void)w{i}; (void)c{i};" for i in loop.models)]


def _segment(loop: Loop) -> list[str]:
    """Between two cutoffs the thresholds are constant: ties are kept up to a model's own."""
    if loop.trim is not Trim.MAGNITUDE:
        return []
    ends = [f"if (cut{i} > start && cut{i} < end) end = cut{i};" for i in loop.models]
    bars = [f"const float t{i} = start < cut{i} ? at{i} : above{i};" for i in loop.models]
    return ends + bars


def _entry(loop: Loop) -> list[str]:
    """From inputs to the merged entry r."""
    codes = loop.inputs[1:] if loop.relative else loop.inputs
    lines = [f"const float o = read_{loop.inputs[0]}(o_[i]);"] if loop.relative else []
    for i, code in zip(loop.models, codes, strict=True):
        lines += _term(loop, i, f"read_{code}(x{i}_[i])")
    lines.append(f"const float sum = {_chain([f'a{i}' for i in loop.models])};")
    if loop.form == "linear":
        return [*lines, "const float r = sum / divisor;"]
    if loop.form == "sum":
        return [*lines, "const float r = o + sum / divisor * scale;"]
    return lines + _election(loop)


def _term(loop: Loop, i: int, read: str) -> list[str]:
    if not loop.relative:
        return [f"const float a{i} = {read} * w{i};"]
    lines = [f"const float d{i} = {read} - o;"]
    if loop.trim is Trim.NONE:
        return [*lines, f"const float a{i} = d{i} * c{i};"]
    keep = f"__builtin_fabsf(d{i}) >= t{i}"
    if loop.trim is Trim.RANDOM:
        hashed = f"mix(mix((first + (uint32_t)i) ^ p{i}) ^ q{i})"
        keep = f"(int32_t)({hashed} >> 1) <= limit{i}"
    return [*lines, f"const float a{i} = {keep} ? d{i} * c{i} : 0.0f;"]


def _election(loop: Loop) -> list[str]:
    """Terms turned by the sign of their sum; what is positive then agrees."""
    lines = ["const uint32_t s = sum >= 0.0f ? 0u : 0x80000000u;", "float m = 0.0f;"]
    for i in loop.models:
        lines.append(f"const float v{i} = as_float(as_bits(a{i}) ^ s);")
        lines.append(f"m = v{i} > 0.0f ? m + v{i} : m;")
    if loop.normalize:
        lines += _share(loop, "share", "w")
        if loop.mixed_signs:
            lines += [f"const float u{i} = __builtin_fabsf(w{i});" for i in loop.models]
            lines += _share(loop, "bound", "u")
            lines.append(f"if (__builtin_fabsf(share) <= bound * {CANCEL!r}f) share = bound;")
            lines.append("if (!(bound > 0.0f)) share = 1.0f;")
        else:
            lines.append(f"share = share > {TINY!r}f ? share : {TINY!r}f;")
        lines.append("m = m / share;")
    return [*lines, "const float r = o + as_float(as_bits(m) ^ s) * scale;"]


def _share(loop: Loop, name: str, weight: str) -> list[str]:
    adds = [f"{name} = v{i} > 0.0f ? {name} + {weight}{i} : {name};" for i in loop.models]
    return [f"float {name} = 0.0f;", *adds]


def _chain(terms: list[str]) -> str:
    """((a + b) + c): summed in the order of the models."""
    text = terms[0]
    for term in terms[1:]:
        text = f"({text} + {term})"
    return text
