"""C source of one fused loop, for one method, number of models and set of dtypes.

It says what `kernels.make_step` says, for one entry at a time. Names: o the base, x, d, a the model,
its delta, its weighted and trimmed delta; w, c, t weight, coefficient, threshold; s a sign bit.
"""

from dataclasses import dataclass

import torch

from evomerge.merging.kernels import (
    FLOATS_PER_MODEL,
    INTS_PER_MODEL,
    Select,
    Variant,
    kernel_of,
)
from evomerge.methods.amounts import CANCEL
from evomerge.methods.arithmetic import TINY, elect_kernel, linear_kernel, sum_kernel
from evomerge.methods.base import Kernel

CODES = {torch.bfloat16: "b16", torch.float32: "f32", torch.float16: "f16"}
_TYPES = {"b16": "uint16_t", "f32": "float", "f16": "_Float16"}
_FORMS: dict[Kernel, str] = {linear_kernel: "linear", sum_kernel: "sum", elect_kernel: "elect"}

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
_HALF = """\
static inline float read_f16(_Float16 x) { return (float)x; }
static inline _Float16 write_f16(float x) { return (_Float16)x; }
"""


@dataclass(frozen=True)
class Loop:
    """What the source depends on. `inputs` are dtype codes, base first where there is one."""

    form: str
    selects: tuple[Select, ...]
    relative: bool
    normalize: bool
    mixed_signs: bool
    vote: str
    inputs: tuple[str, ...]
    out: str

    @staticmethod
    def knows(variant: Variant) -> bool:
        """Whether the method's kernel is one of the sums written here."""
        return kernel_of(variant) in _FORMS

    @classmethod
    def of(cls, variant: Variant, inputs: tuple[torch.dtype, ...], out: torch.dtype) -> "Loop":
        """The loop of a kernel variant over these dtypes."""
        return cls(
            form=_FORMS[kernel_of(variant)],
            selects=variant.selects,
            relative=variant.relative,
            normalize=variant.normalize,
            mixed_signs=variant.mixed_signs,
            vote=variant.vote,
            inputs=tuple(CODES[dtype] for dtype in inputs),
            out=CODES[out],
        )

    @property
    def models(self) -> range:
        return range(len(self.selects))

    def picks(self, *selects: Select) -> list[int]:
        """The models that are selected in one of these ways."""
        return [i for i in self.models if self.selects[i] in selects]


def source(loop: Loop) -> str:
    """The whole file. It exports `run(rows, width, stride, start, inputs, out, floats, ints)`.

    That merges `rows` runs of `width` entries, `stride` apart in the inputs and next to each other in
    `out`, and returns the peak. `start` is the index of the first entry in its tensor: hashes and
    cutoffs count from there.
    """
    body = "\n".join(f"            {line}" for line in _entry(loop))
    setup = "\n".join(f"    {line}" for line in _setup(loop))
    ends = "\n".join(f"        {line}" for line in _segment(loop))
    head = _HEAD + (_HALF if "f16" in {*loop.inputs, loop.out} else "")
    return f"""{head}
static uint32_t span(int64_t n, int64_t start, const void *const *inputs, int64_t skip,
                     void *target, const float *f, const int64_t *g)
{{
    {_TYPES[loop.out]} *restrict out = target;
    uint32_t peak = 0;
{setup}
    for (int64_t from = 0; from < n;) {{
        int64_t to = n - from > 1 << 30 ? from + (1 << 30) : n;
        const int64_t edge = ((start + from) | 0xffffffff) + 1 - start;
        if (edge < to) to = edge;
{ends}
        const uint32_t first = (uint32_t)(start + from);
        (void)first;
        const int32_t count = (int32_t)(to - from);
        for (int32_t i = 0; i < count; i++) {{
{body}
            uint32_t size = as_bits(r) & 0x7fffffffu;
            peak = size > peak ? size : peak;
            out[from + i] = write_{loop.out}(r);
        }}
        from = to;
    }}
    return peak;
}}

float run(int64_t rows, int64_t width, int64_t stride, int64_t start, const void *const *inputs,
          void *target, const float *f, const int64_t *g)
{{
    uint32_t peak = 0;
    for (int64_t row = 0; row < rows; row++) {{
        uint32_t size = span(width, start + row * stride, inputs, row * stride,
                             ({_TYPES[loop.out]} *)target + row * width, f, g);
        peak = size > peak ? size : peak;
    }}
    return as_float(peak);
}}
"""


def _setup(loop: Loop) -> list[str]:
    """Pointers and scalars as locals."""
    lines = []
    names = ["o_", *(f"x{i}_" for i in loop.models)][0 if loop.relative else 1 :]
    for place, (name, code) in enumerate(zip(names, loop.inputs, strict=True)):
        kind = f"const {_TYPES[code]} *"
        lines.append(f"{kind}restrict {name} = ({kind})inputs[{place}] + skip;")
    for number, i in enumerate(loop.picks(Select.MASK)):
        mask = f"(const uint8_t *)inputs[{len(names) + number}] + skip"
        lines.append(f"const uint8_t *restrict k{i}_ = {mask};")
    for i in loop.models:
        at, key = FLOATS_PER_MODEL * i, INTS_PER_MODEL * i
        lines.append(f"const float w{i} = f[{at}], c{i} = f[{at + 1}];")
        if i in loop.picks(Select.CUT, Select.BAND):
            lines.append(f"const float at{i} = f[{at + 2}], above{i} = f[{at + 3}];")
            lines.append(f"const int64_t cut{i} = g[{key}] - start;")
        if i in loop.picks(Select.BAND):
            lines.append(f"const float top{i} = f[{at + 4}], over{i} = f[{at + 5}];")
            lines.append(f"const int64_t end{i} = g[{key + 1}] - start;")
        if i in loop.picks(Select.HASH):
            lines.append(f"const int32_t limit{i} = (int32_t)g[{key + 2}];")
            lines.append(f"const uint32_t p{i} = (uint32_t)g[{key + 3}];")
    count = len(loop.selects)
    lines.append(f"const float divisor = f[{FLOATS_PER_MODEL * count}];")
    lines.append(f"const float scale = f[{FLOATS_PER_MODEL * count + 1}];")
    lines.append("(void)divisor; (void)scale;")
    return [*lines, *(f"(void)w{i}; (void)c{i};" for i in loop.models)]


def _segment(loop: Loop) -> list[str]:
    """Between two cutoffs the thresholds are constant: ties are kept up to a model's own.

    The upper half of the index is one for a segment, and enters the second key of a hash.
    """
    cuts, bands = loop.picks(Select.CUT, Select.BAND), loop.picks(Select.BAND)
    ends = [f"if (cut{i} > from && cut{i} < to) to = cut{i};" for i in cuts]
    ends += [f"if (end{i} > from && end{i} < to) to = end{i};" for i in bands]
    bars = [f"const float t{i} = from < cut{i} ? at{i} : above{i};" for i in cuts]
    bars += [f"const float h{i} = from < end{i} ? top{i} : over{i};" for i in bands]
    keys = [
        f"const uint32_t q{i} = (uint32_t)g[{INTS_PER_MODEL * i + 4}]"
        " ^ (uint32_t)((start + from) >> 32);"
        for i in loop.picks(Select.HASH)
    ]
    return [*ends, *bars, *keys]


def _entry(loop: Loop) -> list[str]:
    """From inputs to the merged entry r."""
    codes = loop.inputs[1:] if loop.relative else loop.inputs
    lines = [f"const float o = read_{loop.inputs[0]}(o_[from + i]);"] if loop.relative else []
    for i, code in zip(loop.models, codes, strict=True):
        lines += _term(loop, i, f"read_{code}(x{i}_[from + i])")
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
    keep = _keep(loop.selects[i], i)
    if not keep:
        return [*lines, f"const float a{i} = d{i} * c{i};"]
    return [*lines, f"const int k{i} = {keep};", f"const float a{i} = k{i} ? d{i} * c{i} : 0.0f;"]


def _keep(select: Select, i: int) -> str:
    """The condition under which the entry of a delta takes part; empty for always."""
    size = f"__builtin_fabsf(d{i})"
    if select is Select.CUT:
        return f"{size} >= t{i}"
    if select is Select.BAND:
        return f"({size} >= t{i}) & ({size} < h{i})"
    if select is Select.HASH:
        return f"(int32_t)(mix(mix((first + (uint32_t)i) ^ p{i}) ^ q{i}) >> 1) <= limit{i}"
    return f"k{i}_[from + i] != 0" if select is Select.MASK else ""


def _election(loop: Loop) -> list[str]:
    """Terms turned by the sign of their sum; what is positive then agrees."""
    lines = _vote(loop)
    lines += ["const uint32_t s = vote >= 0.0f ? 0u : 0x80000000u;", "float m = 0.0f;"]
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


def _vote(loop: Loop) -> list[str]:
    if loop.vote == "count":
        signs = [f"(float)((a{i} > 0.0f) - (a{i} < 0.0f))" for i in loop.models]
        return [f"const float vote = {_chain(signs)};"]
    if loop.vote == "delta":
        kept = [
            f"k{i} ? d{i} : 0.0f" if _keep(loop.selects[i], i) else f"d{i}" for i in loop.models
        ]
        return [f"const float vote = {_chain([f'({term})' for term in kept])};"]
    return ["const float vote = sum;"]


def _share(loop: Loop, name: str, weight: str) -> list[str]:
    adds = [f"{name} = v{i} > 0.0f ? {name} + {weight}{i} : {name};" for i in loop.models]
    return [f"float {name} = 0.0f;", *adds]


def _chain(terms: list[str]) -> str:
    """((a + b) + c): summed in the order of the models."""
    text = terms[0]
    for term in terms[1:]:
        text = f"({text} + {term})"
    return text
