"""C source of the passes that measure deltas: cuts, tables of cuts, levels by rank, norms, inner products.

`thresholds` and `row_masks` define what these compute, in numpy. Everything streams: a block of entries
is widened to fp32 in the first-level cache and used there; no delta is ever stored.
"""

from evomerge.merging.masks import EVEN, FIRST, ODD, SECOND, UPPER_FIRST, UPPER_SECOND

SOURCE = f"""\
#define FIRST {FIRST:#x}u
#define SECOND {SECOND:#x}u
#define EVEN {EVEN:#x}u
#define ODD {ODD:#x}u
#define UPPER_FIRST {UPPER_FIRST:#x}u
#define UPPER_SECOND {UPPER_SECOND:#x}u
"""
SOURCE += r"""
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

enum { WIDTH = 2048, LANES = 16 };
typedef struct { const void *base, *model; int32_t base_code, model_code; } delta_t;

static inline float as_float(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }
static inline uint32_t as_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
/* The hashes in [0, 2^32) of n entries from `at` on, which have one upper half of their index. */
static void hashes(int64_t at, int64_t n, const int32_t *key, uint32_t *restrict out)
{
    const uint32_t upper = (uint32_t)(at >> 32);
    const uint32_t first = (uint32_t)key[0] ^ upper * UPPER_FIRST;
    const uint32_t second = (uint32_t)key[1] ^ upper * UPPER_SECOND;
    for (int64_t i = 0; i < n; i++) {
        const uint32_t index = (uint32_t)(at + i);
        uint32_t x = (index >> 1) ^ first;
        x = (x ^ (x >> 16)) * FIRST;
        x = (x ^ (x >> 15) ^ second) * SECOND;
        out[i] = (x ^ (x >> 15)) * (index & 1u ? ODD : EVEN);
    }
}

int32_t knows_half(void)
{
#ifdef __FLT16_MAX__
    return 1;
#else
    return 0;
#endif
}

static void widen(const void *p, int code, int64_t at, int64_t n, float *restrict out)
{
    if (code == 0) {
        memcpy(out, (const float *)p + at, (size_t)n * 4);
    } else if (code == 1) {
        const uint16_t *x = (const uint16_t *)p + at;
        for (int64_t i = 0; i < n; i++) out[i] = as_float((uint32_t)x[i] << 16);
    }
#ifdef __FLT16_MAX__
    else {
        const _Float16 *x = (const _Float16 *)p + at;
        for (int64_t i = 0; i < n; i++) out[i] = (float)x[i];
    }
#endif
}

/* Whether no entry is NaN or infinite: the largest, without its sign, is below infinity. */
int32_t all_finite(const void *p, int32_t code, int64_t from, int64_t to)
{
    if (code == 0) {
        const uint32_t *x = p;
        uint32_t most = 0;
        for (int64_t i = from; i < to; i++) {
            const uint32_t size = x[i] & 0x7fffffffu;
            most = size > most ? size : most;
        }
        return most < 0x7f800000u;
    }
    const uint16_t *x = p;
    uint16_t most = 0;
    for (int64_t i = from; i < to; i++) {
        const uint16_t size = x[i] & 0x7fff;
        most = size > most ? size : most;
    }
    return most < (code == 1 ? 0x7f80 : 0x7c00);
}

/* |model - base| as bit patterns, entries at .. at + n, n <= WIDTH. */
static void sizes(const delta_t *d, int64_t at, int64_t n, uint32_t *restrict out)
{
    float a[WIDTH], b[WIDTH];
    widen(d->model, d->model_code, at, n, a);
    widen(d->base, d->base_code, at, n, b);
    for (int64_t i = 0; i < n; i++) out[i] = as_bits(a[i] - b[i]) & 0x7fffffffu;
}

#define EACH_BLOCK(from, to) \
    for (int64_t at = (from), n; at < (to) && (n = (to) - at < WIDTH ? (to) - at : WIDTH, 1); at += n)

static double total(const uint32_t *u, int64_t n)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int k = 0; k < LANES; k++) lanes[k] += as_float(u[i + k]);
    for (int64_t i = whole; i < n; i++) lanes[i - whole] += as_float(u[i]);
    for (int k = 0; k < LANES; k++) sum += lanes[k];
    return sum;
}

/* Entries at `places`, for a first guess of a cut. */
void sample(const delta_t *d, const int64_t *places, int64_t count, uint32_t *out)
{
    for (int64_t i = 0; i < count; i++) sizes(d, places[i], 1, out + i);
}

#ifdef __AVX512F__
/* Sixteen sizes of two bf16 tensors. */
static inline __m512i sizes_b16(const uint16_t *model, const uint16_t *base)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)model));
    __m512i o = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)base));
    __m512 d = _mm512_sub_ps(_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
                             _mm512_castsi512_ps(_mm512_slli_epi32(o, 16)));
    return _mm512_and_si512(_mm512_castps_si512(d), _mm512_set1_epi32(0x7fffffff));
}
#endif

/* Entries in from .. to with lo <= size <= hi go to `values` and `places`, in order; returns how many.
   `above`: how many are larger than hi. Both buffers have room for 16 more than to - from. */
int64_t collect(const delta_t *d, int64_t from, int64_t to, uint32_t lo, uint32_t hi,
                uint32_t *restrict values, uint32_t *restrict places, int64_t *above)
{
    uint32_t u[WIDTH];
    int64_t count = 0, larger = 0;
    EACH_BLOCK(from, to) {
        int64_t i = 0;
#ifdef __AVX512F__
        const int direct = d->base_code == 1 && d->model_code == 1;
        const __m512i low = _mm512_set1_epi32((int)lo), high = _mm512_set1_epi32((int)hi);
        __m512i index = _mm512_add_epi32(_mm512_set1_epi32((int)(uint32_t)at),
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        if (!direct || n % 16) sizes(d, at, n, u);
        for (; i + 16 <= n; i += 16) {
            __m512i x = direct ? sizes_b16((const uint16_t *)d->model + at + i,
                                           (const uint16_t *)d->base + at + i)
                               : _mm512_loadu_si512(u + i);
            __mmask16 over = _mm512_cmpgt_epu32_mask(x, high);
            __mmask16 in = _mm512_mask_cmpge_epu32_mask((__mmask16)~over, x, low);
            larger += __builtin_popcount(over);
            /* Through a register: a compressing store to memory takes a hundred cycles on some. */
            _mm512_storeu_si512(values + count, _mm512_maskz_compress_epi32(in, x));
            _mm512_storeu_si512(places + count, _mm512_maskz_compress_epi32(in, index));
            count += __builtin_popcount(in);
            index = _mm512_add_epi32(index, _mm512_set1_epi32(16));
        }
#else
        sizes(d, at, n, u);
#endif
        for (; i < n; i++) {
            larger += u[i] > hi;
            values[count] = u[i];
            places[count] = (uint32_t)(at + i);
            count += u[i] - lo <= hi - lo;
        }
    }
    *above = larger;
    return count;
}

/* The `needed`-th largest of `values`, equal ones in the order of `places`; both are used up.
   counts: room for 4096. Bin by bin, until what is left is all equal. */
void nth(uint32_t *restrict values, uint32_t *restrict places, int64_t count, int64_t needed,
         uint32_t *restrict counts, uint32_t *threshold, uint32_t *place)
{
    uint32_t low = 0xffffffffu, high = 0;
    for (int64_t i = 0; i < count; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    if (low == high) {
        *threshold = low;
        *place = places[needed - 1];
        return;
    }
    int shift = high - low < 4096 ? 0 : 20 - __builtin_clz(high - low);
    for (;;) {
        memset(counts, 0, 4096 * 4);
        for (int64_t i = 0; i < count; i++) counts[(values[i] - low) >> shift]++;
        uint32_t bin = 4095;
        for (; counts[bin] < needed; bin--) needed -= counts[bin];
        int64_t kept = 0;
        for (int64_t i = 0; i < count; i++) {
            uint32_t value = values[i];
            values[kept] = value;
            places[kept] = places[i];
            kept += (value - low) >> shift == bin;
        }
        count = kept;
        if (!shift) break;
        low += bin << shift;
        shift = shift > 12 ? shift - 12 : 0;
    }
    *threshold = values[0];
    *place = places[needed - 1];
}

/* L1 norms of the whole delta and of what lies between two cuts; one pair for each block. */
void band_norms(const delta_t *d, int64_t from, int64_t to, int64_t block, const uint32_t *thresholds,
                const int64_t *cutoffs, double *out)
{
    uint32_t u[WIDTH];
    for (int64_t start = from; start < to; start += block, out += 2) {
        int64_t end = to - start < block ? to : start + block;
        out[0] = out[1] = 0;
        EACH_BLOCK(start, end) {
            sizes(d, at, n, u);
            out[0] += total(u, n);
            for (int64_t i = 0; i < n; i++) {
                uint32_t low = thresholds[0] + (at + i >= cutoffs[0]);
                uint32_t high = thresholds[1] + (at + i >= cutoffs[1]);
                u[i] = u[i] >= low && u[i] < high ? u[i] : 0;
            }
            out[1] += total(u, n);
        }
    }
}

/* L1 norms of the whole delta and of a random part of it; one pair for each block. */
void hash_norms(const delta_t *d, int64_t from, int64_t to, int64_t block, uint32_t limit,
                const int32_t *key, double *out)
{
    uint32_t u[WIDTH], hash[WIDTH];
    for (int64_t start = from; start < to; start += block, out += 2) {
        int64_t end = to - start < block ? to : start + block;
        out[0] = out[1] = 0;
        EACH_BLOCK(start, end) {
            sizes(d, at, n, u);
            out[0] += total(u, n);
            hashes(at, n, key, hash);
            for (int64_t i = 0; i < n; i++) u[i] = hash[i] < limit ? u[i] : 0;
            out[1] += total(u, n);
        }
    }
}

/* Sums of sizes by the grid row of an entry's hash: sums[1 + hash * rows >> 32]. */
void hash_sums(const delta_t *d, int64_t count, int64_t rows, const int32_t *key, double *sums)
{
    uint32_t u[WIDTH], row[WIDTH];
    EACH_BLOCK(0, count) {
        sizes(d, at, n, u);
        hashes(at, n, key, row);
        for (int64_t i = 0; i < n; i++) sums[1 + ((uint64_t)row[i] * (uint64_t)rows >> 32)] += as_float(u[i]);
    }
}

/* How many sizes have each upper part (bits >> shift). */
void histogram(const delta_t *d, int64_t from, int64_t to, int32_t shift, uint32_t *counts)
{
    uint32_t u[WIDTH];
    EACH_BLOCK(from, to) {
        sizes(d, at, n, u);
        for (int64_t i = 0; i < n; i++) counts[u[i] >> shift]++;
    }
}

enum { LOW_BITS = 11, LOW = 1 << LOW_BITS, BINS = 1 << (31 - LOW_BITS), NONE = 0xffff };

/* Cuts for many counts at once. keeps: ascending, `targets` of them (< 65535), each in 1 .. count.
   Three passes: counts by the upper 20 bits; by the lower 11 in the bins where a cut lies; the place of
   the last tie that is kept. counts, slot: room for 2^20; lower: for 2048 a target; of: for one. */
void table(const delta_t *d, int64_t count, int64_t *keeps, int32_t targets, float *thresholds,
           int64_t *cutoffs, uint32_t *restrict counts, uint16_t *restrict slot,
           uint32_t *restrict lower, uint32_t *restrict of)
{
    uint32_t u[WIDTH];
    int64_t *need = keeps; /* becomes the number of ties that are kept */
    int32_t slots = 0;
    memset(counts, 0, 4 * (size_t)BINS);
    histogram(d, 0, count, LOW_BITS, counts);
    memset(slot, 0xff, 2 * BINS);
    int64_t above = 0, bin = BINS;
    for (int32_t t = 0; t < targets; t++) {
        while (above < keeps[t]) above += counts[--bin];
        if (slot[bin] == NONE) slot[bin] = (uint16_t)slots++;
        of[t] = (uint32_t)bin;
        need[t] = keeps[t] - (above - counts[bin]);
    }
    memset(lower, 0, (size_t)slots * LOW * 4);
    EACH_BLOCK(0, count) {
        sizes(d, at, n, u);
        for (int64_t i = 0; i < n; i++) {
            uint16_t s = slot[u[i] >> LOW_BITS];
            if (s != NONE) lower[(size_t)s * LOW + (u[i] & (LOW - 1))]++;
        }
    }
    for (int32_t t = 0; t < targets; t++) {
        const uint32_t *own = lower + (size_t)slot[of[t]] * LOW;
        int64_t low = LOW, seen = 0;
        while (seen + own[low - 1] < need[t]) seen += own[--low];
        need[t] -= seen;
        thresholds[t] = as_float(of[t] << LOW_BITS | (uint32_t)(low - 1));
    }
    /* Targets with one threshold follow each other, with growing needs: `first` names the next one. */
    memset(lower, 0, (size_t)slots * LOW * 4);
    for (int32_t t = targets - 1; t >= 0; t--) {
        uint32_t value = as_bits(thresholds[t]);
        lower[(size_t)slot[value >> LOW_BITS] * LOW + (value & (LOW - 1))] = (uint32_t)t + 1;
        of[t] = 0;
    }
    int32_t open = targets;
    EACH_BLOCK(0, count) {
        if (!open) break;
        sizes(d, at, n, u);
        for (int64_t i = 0; i < n; i++) {
            uint16_t s = slot[u[i] >> LOW_BITS];
            if (s == NONE) continue;
            uint32_t *mark = lower + (size_t)s * LOW + (u[i] & (LOW - 1));
            if (!*mark) continue;
            int32_t t = (int32_t)*mark - 1;
            uint32_t seen = ++of[t];
            while (need[t] == seen) {
                cutoffs[t] = at + i + 1;
                open--;
                if (t + 1 == targets || thresholds[t + 1] != thresholds[t]) { *mark = 0; break; }
                t++;
                of[t] = seen;
                *mark = (uint32_t)t + 1;
            }
        }
    }
}

enum { FINE = 17, SPAN = 1024, TOP = 255 };

/* Levels by rank within a row, 0 for the smallest: see row_masks.level. The bin of an entry in the row's
   histogram says its rank to within the bin, which mostly decides; where it does not, the bin is sorted.
   norms: for each row the L1 norm, and the same weighted by levels. Returns 0 where memory is short. */
static inline uint32_t bin_of(uint32_t u, uint32_t floor)
{
    uint32_t b = u >> FINE;
    return b > floor ? b - floor : 0;
}

static double weighted(const uint32_t *u, const uint8_t *weight, int64_t n)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int k = 0; k < LANES; k++) lanes[k] += (double)as_float(u[i + k]) * weight[i + k];
    for (int64_t i = whole; i < n; i++) lanes[i - whole] += (double)as_float(u[i]) * weight[i];
    for (int k = 0; k < LANES; k++) sum += lanes[k];
    return sum;
}

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void sort(uint64_t *keys, int64_t n)
{
    int64_t i = 1;
    while (i < n && keys[i - 1] <= keys[i]) i++;
    if (i >= n) return; /* as equal ones are */
    if (n > 64) {
        qsort(keys, (size_t)n, 8, by_key);
        return;
    }
    for (; i < n; i++) {
        const uint64_t key = keys[i];
        int64_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

int32_t levels(const delta_t *d, int64_t columns, int64_t first, int64_t last, uint8_t *found,
               double *norms)
{
    uint32_t *u = malloc(4 * (size_t)columns);
    uint64_t *keys = malloc(8 * (size_t)columns); /* size and place in the row, bin by bin */
    uint8_t *of = malloc((size_t)columns);
    int32_t done = u && keys && of;
    for (int64_t rank = 0; done && rank < columns; rank++)
        of[rank] = (uint8_t)((2 * TOP * rank + columns - 1) / (2 * (columns - 1)));
    for (int64_t row = first; done && row < last; row++) {
        const int64_t from = row * columns;
        uint8_t *own = found + from, level[SPAN];
        uint32_t most = 0, before[SPAN + 1] = {0}, next[SPAN];
        EACH_BLOCK(from, from + columns) sizes(d, at, n, u + (at - from));
        for (int64_t i = 0; i < columns; i++) most = u[i] > most ? u[i] : most;
        const uint32_t floor = most >> FINE < SPAN ? 0 : (most >> FINE) - (SPAN - 1);
        for (int64_t i = 0; i < columns; i++) before[1 + bin_of(u[i], floor)]++;
        for (int b = 0; b < SPAN; b++) {
            next[b] = before[b];
            before[b + 1] += before[b];
            level[b] = before[b] < columns ? of[before[b]] : 0;
        }
        for (int64_t i = 0; i < columns; i++) {
            const uint32_t b = bin_of(u[i], floor);
            keys[next[b]++] = (uint64_t)u[i] << 32 | (uint32_t)i;
            own[i] = level[b];
        }
        for (int b = 0; b < SPAN; b++) {
            const uint32_t start = before[b], end = before[b + 1];
            if (start == end || of[end - 1] == level[b]) continue;
            sort(keys + start, end - start);
            for (uint32_t rank = start; rank < end; rank++) own[(uint32_t)keys[rank]] = of[rank];
        }
        norms[2 * row] = total(u, columns);
        norms[2 * row + 1] = weighted(u, own, columns);
    }
    free(u); free(keys); free(of);
    return done;
}

/* Inner products of `models` tensors, or of their deltas where base is not NULL: for each block of
   entries one matrix [models, models]. models <= 64. */
void dots(const void *const *tensors, const int32_t *codes, int32_t models, const void *base,
          int32_t base_code, int64_t from, int64_t to, int64_t block, double *out)
{
    static const int PART = 256;
    float x[64][256], o[256];
    for (int64_t start = from; start < to; start += block, out += models * models) {
        int64_t end = to - start < block ? to : start + block;
        memset(out, 0, 8 * (size_t)(models * models));
        for (int64_t at = start; at < end; at += PART) {
            int64_t n = end - at < PART ? end - at : PART;
            if (base) widen(base, base_code, at, n, o);
            for (int m = 0; m < models; m++) {
                widen(tensors[m], codes[m], at, n, x[m]);
                if (base) for (int64_t i = 0; i < n; i++) x[m][i] -= o[i];
                for (int64_t i = n; i < PART; i++) x[m][i] = 0;
            }
            for (int a = 0; a < models; a++)
                for (int b = a; b < models; b++) {
                    double lanes[LANES] = {0}, sum = 0;
                    for (int i = 0; i < PART; i += LANES)
                        for (int k = 0; k < LANES; k++)
                            lanes[k] += (double)x[a][i + k] * x[b][i + k];
                    for (int k = 0; k < LANES; k++) sum += lanes[k];
                    out[a * models + b] += sum;
                }
        }
        for (int a = 0; a < models; a++)
            for (int b = 0; b < a; b++) out[a * models + b] = out[b * models + a];
    }
}
"""
