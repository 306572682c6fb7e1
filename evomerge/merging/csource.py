"""C source of one fused loop, for one method, number of models and set of dtypes.

It says what `kernels.make_step` says, for one entry at a time. Names: o the base, x, d, a the model,
its delta, its weighted and trimmed delta; w, c, t weight, coefficient, threshold; s a sign bit.

Where everything is bf16, entries are taken in pairs, at even indices: as one 32-bit word they widen
and narrow by a shift or a mask instead of a shuffle, and one hash is for both. Half the instructions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from evomerge.merging.kernels import (
    FLOATS_PER_MODEL,
    INTS_PER_MODEL,
    Select,
    Variant,
    kernel_of,
)
from evomerge.merging.masks import EVEN, FIRST, ODD, SECOND, UPPER_FIRST, UPPER_SECOND
from evomerge.methods.amounts import CANCEL
from evomerge.methods.arithmetic import TINY, elect_kernel, linear_kernel, sum_kernel
from evomerge.methods.base import Kernel

CODES = {torch.bfloat16: "b16", torch.float32: "f32", torch.float16: "f16"}
_TYPES = {"b16": "uint16_t", "f32": "float", "f16": "_Float16"}
_FORMS: dict[Kernel, str] = {linear_kernel: "linear", sum_kernel: "sum", elect_kernel: "elect"}

_HEAD = f"""\
#define FIRST {FIRST:#x}u
#define SECOND {SECOND:#x}u
#define EVEN {EVEN:#x}u
#define ODD {ODD:#x}u
"""
_HEAD += """\
#include <stdint.h>
#include <string.h>

static inline float as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t as_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float read_b16(uint16_t x) { return as_float((uint32_t)x << 16); }
static inline float read_f32(float x) { return x; }
static inline float write_f32(float x) { return x; }
static inline uint32_t rounded(uint32_t u) { return u + 0x7fffu + ((u >> 16) & 1u); }
static inline uint16_t write_b16(float x) { return (uint16_t)(rounded(as_bits(x)) >> 16); }
/* `x`: the key and half the index, already folded. */
static inline uint32_t hash(uint32_t x, uint32_t key) {
    x *= FIRST;
    x = (x ^ (x >> 15) ^ key) * SECOND;
    return x ^ (x >> 15);
}
static inline uint32_t fold(uint32_t x) { return x ^ (x >> 16); }
"""
_PAIRS = """\
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error pairs are read as words
#endif
typedef uint32_t __attribute__((may_alias, aligned(2))) pair_t;
typedef uint16_t __attribute__((may_alias, aligned(1))) bytes_t;
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

    @property
    def paired(self) -> bool:
        """Whether two entries at a time are read and written as one word."""
        return {*self.inputs, self.out} == {"b16"}

    @property
    def names(self) -> list[str]:
        """What the inputs are called: the base, then the models."""
        return ["o", *(f"x{i}" for i in self.models)][0 if self.relative else 1 :]

    def picks(self, *selects: Select) -> list[int]:
        """The models that are selected in one of these ways."""
        return [i for i in self.models if self.selects[i] in selects]


@dataclass(frozen=True)
class _Access:
    """How the loop gets at one entry: C expressions of a name and its dtype code, or a model's number."""

    read: Callable[[str, str], str]
    beside: Callable[[int], str]
    drawn: Callable[[int], str]


_ONE = _Access(
    lambda name, code: f"read_{code}({name}_[from + i])",
    lambda i: f"(uint32_t)k{i}_[from + i]",
    lambda i: f"z{i} * (odd ? ODD : EVEN)",
)
_EVEN = _Access(
    lambda name, _: f"as_float({name}p[j] << 16)",
    lambda i: f"(b{i} & 0xffu)",
    lambda i: f"z{i} * EVEN",
)
_ODD = _Access(
    lambda name, _: f"as_float({name}p[j] & 0xffff0000u)",
    lambda i: f"(b{i} >> 8)",
    lambda i: f"z{i} * ODD",
)


def source(loop: Loop) -> str:
    """The whole file. It exports `run(rows, width, stride, start, inputs, out, floats, ints)`.

    That merges `rows` runs of `width` entries, `stride` apart in the inputs and next to each other in
    `out`, and returns the peak. `start` is the index of the first entry in its tensor: hashes and
    cutoffs count from there.
    """
    setup = _indented(_setup(loop), 1)
    ends = _indented(_segment(loop), 2)
    body = _indented(_pairs(loop) if loop.paired else _ones(loop), 2)
    head = _HEAD + (_PAIRS if loop.paired else "")
    head += _HALF if "f16" in {*loop.inputs, loop.out} else ""
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
{body}
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


def _indented(lines: list[str], depth: int) -> str:
    return "\n".join("    " * depth + line for line in lines)


def _setup(loop: Loop) -> list[str]:
    """Pointers and scalars as locals."""
    lines = []
    for place, (name, code) in enumerate(zip(loop.names, loop.inputs, strict=True)):
        kind = f"const {_TYPES[code]} *"
        lines.append(f"{kind}restrict {name}_ = ({kind})inputs[{place}] + skip;")
    for number, i in enumerate(loop.picks(Select.MASK, Select.RANK)):
        beside = f"(const uint8_t *)inputs[{len(loop.names) + number}] + skip"
        lines.append(f"const uint8_t *restrict k{i}_ = {beside};")
    for i in loop.models:
        at, key = FLOATS_PER_MODEL * i, INTS_PER_MODEL * i
        lines.append(f"const float w{i} = f[{at}], c{i} = f[{at + 1}];")
        if i in loop.picks(Select.CUT, Select.BAND):
            lines.append(f"const float at{i} = f[{at + 2}], above{i} = f[{at + 3}];")
            lines.append(f"const int64_t cut{i} = g[{key}] - start;")
        if i in loop.picks(Select.BAND):
            lines.append(f"const float top{i} = f[{at + 4}], over{i} = f[{at + 5}];")
            lines.append(f"const int64_t end{i} = g[{key + 1}] - start;")
        if i in loop.picks(Select.HASH, Select.RANK):
            lines.append(f"const uint32_t limit{i} = (uint32_t)g[{key + 2}];")
        if i in loop.picks(Select.RANK):
            lines.append(f"const uint32_t step{i} = (uint32_t)g[{key + 5}];")
    count = len(loop.selects)
    lines.append(f"const float divisor = f[{FLOATS_PER_MODEL * count}];")
    lines.append(f"const float scale = f[{FLOATS_PER_MODEL * count + 1}];")
    lines.append("(void)divisor; (void)scale;")
    return [*lines, *(f"(void)w{i}; (void)c{i};" for i in loop.models)]


def _segment(loop: Loop) -> list[str]:
    """Between two cutoffs the thresholds are constant: ties are kept up to a model's own.

    The upper half of the index is one for a segment, and enters the keys of a hash.
    """
    cuts, bands = loop.picks(Select.CUT, Select.BAND), loop.picks(Select.BAND)
    ends = [f"if (cut{i} > from && cut{i} < to) to = cut{i};" for i in cuts]
    ends += [f"if (end{i} > from && end{i} < to) to = end{i};" for i in bands]
    bars = [f"const float t{i} = from < cut{i} ? at{i} : above{i};" for i in cuts]
    bars += [f"const float h{i} = from < end{i} ? top{i} : over{i};" for i in bands]
    keys = []
    for i in loop.picks(Select.HASH, Select.RANK):
        key = INTS_PER_MODEL * i + 3
        keys.append(f"const uint32_t p{i} = fold((uint32_t)g[{key}] ^ upper * {UPPER_FIRST:#x}u);")
        keys.append(f"const uint32_t q{i} = (uint32_t)g[{key + 1}] ^ upper * {UPPER_SECOND:#x}u;")
    upper = ["const uint32_t upper = (uint32_t)((start + from) >> 32);"] if keys else []
    return [*ends, *bars, *upper, *keys]


def _ones(loop: Loop) -> list[str]:
    """A segment, entry by entry."""
    return [
        "const int32_t count = (int32_t)(to - from);",
        "for (int32_t i = 0; i < count; i++) {",
        *(f"    {line}" for line in _one(loop)),
        "}",
    ]


def _one(loop: Loop) -> list[str]:
    lines = []
    if loop.picks(Select.HASH, Select.RANK):
        lines.append("const uint32_t index = first + (uint32_t)i, odd = index & 1u;")
        lines += _hashes(loop, "index >> 1")
    return [*lines, *_entry(loop, _ONE), f"out[from + i] = write_{loop.out}(r);"]


def _pairs(loop: Loop) -> list[str]:
    """A segment in pairs; before and behind them an entry may be alone."""
    besides = loop.picks(Select.MASK, Select.RANK)
    words = [
        f"const pair_t *restrict {x}p = (const pair_t *)({x}_ + from + lone);" for x in loop.names
    ]
    words += [
        f"const bytes_t *restrict k{i}p = (const bytes_t *)(k{i}_ + from + lone);" for i in besides
    ]
    hashes = _hashes(loop, "half + (uint32_t)j") if loop.picks(Select.HASH, Select.RANK) else []
    return [
        "const int64_t lone = first & 1u, count = (to - from - lone) >> 1;",
        "for (int32_t end = 0; end < 2; end++) {",
        "    const int64_t i = end ? lone + 2 * count : 0;",
        "    if (i >= (end ? to - from : lone)) continue;",
        *(f"    {line}" for line in _one(loop)),
        "}",
        *words,
        "pair_t *restrict outp = (pair_t *)(out + from + lone);",
        "const uint32_t half = (first >> 1) + (uint32_t)lone;",
        "(void)half;",
        "for (int32_t j = 0; j < (int32_t)count; j++) {",
        *(f"    {line}" for line in hashes),
        *(f"    const uint32_t b{i} = k{i}p[j];" for i in besides),
        "    uint32_t low, high;",
        *_half(loop, _EVEN, "low"),
        *_half(loop, _ODD, "high"),
        "    outp[j] = (low >> 16) | (high & 0xffff0000u);",
        "}",
    ]


def _half(loop: Loop, access: _Access, name: str) -> list[str]:
    lines = [*_entry(loop, access), f"{name} = rounded(as_bits(r));"]
    return ["    {", *(f"        {line}" for line in lines), "    }"]


def _hashes(loop: Loop, place: str) -> list[str]:
    """Two entries' hashes for each model; what is folded of their place is one for all."""
    return [
        f"const uint32_t place = fold({place});",
        *(
            f"const uint32_t z{i} = hash(place ^ p{i}, q{i});"
            for i in loop.picks(Select.HASH, Select.RANK)
        ),
    ]


def _entry(loop: Loop, access: _Access) -> list[str]:
    """From inputs to the merged entry r, and the peak."""
    codes = loop.inputs[1:] if loop.relative else loop.inputs
    lines = [f"const float o = {access.read('o', loop.inputs[0])};"] if loop.relative else []
    for i, code in zip(loop.models, codes, strict=True):
        lines += _term(loop, i, access, access.read(f"x{i}", code))
    lines.append(f"const float sum = {_chain([f'a{i}' for i in loop.models])};")
    if loop.form == "linear":
        lines.append("const float r = sum / divisor;")
    elif loop.form == "sum":
        lines.append("const float r = o + sum / divisor * scale;")
    else:
        lines += _election(loop)
    lines.append("const uint32_t size = as_bits(r) & 0x7fffffffu;")
    return [*lines, "peak = size > peak ? size : peak;"]


def _term(loop: Loop, i: int, access: _Access, read: str) -> list[str]:
    if not loop.relative:
        return [f"const float a{i} = {read} * w{i};"]
    lines = [f"const float d{i} = {read} - o;"]
    keep = _keep(loop.selects[i], i, access)
    if not keep:
        return [*lines, f"const float a{i} = d{i} * c{i};"]
    return [*lines, f"const int k{i} = {keep};", f"const float a{i} = d{i} * (k{i} ? c{i} : 0.0f);"]


def _keep(select: Select, i: int, access: _Access) -> str:
    """The condition under which the entry of a delta takes part; empty for always."""
    size = f"__builtin_fabsf(d{i})"
    if select is Select.CUT:
        return f"{size} >= t{i}"
    if select is Select.BAND:
        return f"({size} >= t{i}) & ({size} < h{i})"
    if select is Select.HASH:
        return f"{access.drawn(i)} < limit{i}"
    if select is Select.RANK:
        return f"{access.drawn(i)} < limit{i} + step{i} * {access.beside(i)}"
    return f"{access.beside(i)} != 0" if select is Select.MASK else ""


def _election(loop: Loop) -> list[str]:
    """Terms turned by the sign of their sum; what is positive then agrees."""
    lines = _vote(loop)
    lines.append("const uint32_t s = vote >= 0.0f ? 0u : 0x80000000u;")
    lines += [f"const float v{i} = as_float(as_bits(a{i}) ^ s);" for i in loop.models]
    lines += _agreeing(loop, "m", "v")
    if loop.normalize:
        lines += _agreeing(loop, "share", "w")
        if loop.mixed_signs:
            lines += [f"const float u{i} = __builtin_fabsf(w{i});" for i in loop.models]
            lines += _agreeing(loop, "bound", "u")
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
            f"k{i} ? d{i} : 0.0f" if loop.selects[i] is not Select.ALL else f"d{i}"
            for i in loop.models
        ]
        return [f"const float vote = {_chain([f'({term})' for term in kept])};"]
    return ["const float vote = sum;"]


def _agreeing(loop: Loop, name: str, summand: str) -> list[str]:
    """Σ over the models whose terms agree."""
    first = f"float {name} = v0 > 0.0f ? {summand}0 : 0.0f;"
    others = loop.models[1:]
    return [first, *(f"{name} = v{i} > 0.0f ? {name} + {summand}{i} : {name};" for i in others)]


def _chain(terms: list[str]) -> str:
    """((a + b) + c): summed in the order of the models."""
    text = terms[0]
    for term in terms[1:]:
        text = f"({text} + {term})"
    return text
