"""C source of the passes that measure deltas: cuts, tables of cuts, masks by rank, norms, inner products.

`thresholds` and `row_masks` define what these compute, in numpy. Everything streams: a block of entries
is widened to fp32 in the first-level cache and used there; no delta is ever stored.
"""

SOURCE = r"""
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
static inline uint32_t mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) * 0x735a2d97u;
    return x ^ (x >> 15);
}
static inline int32_t hash_31(int64_t i, const int32_t *key) {
    uint32_t first = (uint32_t)key[0], second = (uint32_t)key[1] ^ (uint32_t)(i >> 32);
    return (int32_t)(mix(mix((uint32_t)i ^ first) ^ second) >> 1);
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

/* Runs of 8 entries from `places` on, for a first guess of a cut. */
void sample(const delta_t *d, const int64_t *places, int64_t count, uint32_t *out)
{
    for (int64_t i = 0; i < count; i++) sizes(d, places[i], 8, out + 8 * i);
}

/* Entries in from .. to with lo <= size <= hi go to `values` and `places`, in order; returns how many.
   `above`: how many are larger than hi. */
int64_t collect(const delta_t *d, int64_t from, int64_t to, uint32_t lo, uint32_t hi,
                uint32_t *restrict values, int32_t *restrict places, int64_t *above)
{
    uint32_t u[WIDTH];
    int64_t count = 0, larger = 0;
    EACH_BLOCK(from, to) {
        sizes(d, at, n, u);
        int32_t more = 0;
        for (int64_t i = 0; i < n; i++) more += u[i] > hi;
        larger += more;
        int64_t i = 0;
#ifdef __AVX512F__
        const __m512i low = _mm512_set1_epi32((int)lo), high = _mm512_set1_epi32((int)hi);
        __m512i index = _mm512_add_epi32(_mm512_set1_epi32((int)(at - from)),
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        for (; i + 16 <= n; i += 16) {
            __m512i x = _mm512_loadu_si512(u + i);
            __mmask16 in = _mm512_cmpge_epu32_mask(x, low) & _mm512_cmple_epu32_mask(x, high);
            _mm512_mask_compressstoreu_epi32(values + count, in, x);
            _mm512_mask_compressstoreu_epi32(places + count, in, index);
            count += __builtin_popcount(in);
            index = _mm512_add_epi32(index, _mm512_set1_epi32(16));
        }
#endif
        for (; i < n; i++) {
            values[count] = u[i];
            places[count] = (int32_t)(at - from + i);
            count += u[i] - lo <= hi - lo;
        }
    }
    *above = larger;
    return count;
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
void hash_norms(const delta_t *d, int64_t from, int64_t to, int64_t block, int32_t limit,
                const int32_t *key, double *out)
{
    uint32_t u[WIDTH];
    for (int64_t start = from; start < to; start += block, out += 2) {
        int64_t end = to - start < block ? to : start + block;
        out[0] = out[1] = 0;
        EACH_BLOCK(start, end) {
            sizes(d, at, n, u);
            out[0] += total(u, n);
            for (int64_t i = 0; i < n; i++) u[i] = hash_31(at + i, key) <= limit ? u[i] : 0;
            out[1] += total(u, n);
        }
    }
}

/* Sums of sizes by the grid row of an entry's hash: sums[1 + hash * rows >> 31]. */
void hash_sums(const delta_t *d, int64_t count, int64_t rows, const int32_t *key, double *sums)
{
    uint32_t u[WIDTH], row[WIDTH];
    EACH_BLOCK(0, count) {
        sizes(d, at, n, u);
        for (int64_t i = 0; i < n; i++) row[i] = (uint32_t)(((int64_t)hash_31(at + i, key) * rows) >> 31);
        for (int64_t i = 0; i < n; i++) sums[1 + row[i]] += as_float(u[i]);
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
   the last tie that is kept. Returns 0 where memory is short. */
int32_t table(const delta_t *d, int64_t count, const int64_t *keeps, int32_t targets, float *thresholds,
              int64_t *cutoffs)
{
    uint32_t u[WIDTH];
    uint32_t *counts = calloc(BINS, 4), *lower = NULL, *of = malloc(4 * (size_t)targets);
    uint16_t *slot = malloc(2 * BINS);
    int64_t *need = malloc(8 * (size_t)targets);
    int32_t slots = 0, done = 0;
    if (!counts || !of || !slot || !need) goto end;
    histogram(d, 0, count, LOW_BITS, counts);
    memset(slot, 0xff, 2 * BINS);
    int64_t above = 0, bin = BINS;
    for (int32_t t = 0; t < targets; t++) {
        while (above < keeps[t]) above += counts[--bin];
        if (slot[bin] == NONE) slot[bin] = (uint16_t)slots++;
        of[t] = (uint32_t)bin;
        need[t] = keeps[t] - (above - counts[bin]);
    }
    lower = calloc((size_t)slots * LOW, 4);
    if (!lower) goto end;
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
    done = 1;
end:
    free(counts); free(lower); free(of); free(slot); free(need);
    return done;
}

enum { FINE = 17, SPAN = 1024 };

/* Masks by rank within a row: an entry is kept where its hash is below low + step * rank. The rank is
   known to within its bin of the row's histogram, which mostly decides; where it does not, it is counted.
   norms: for each row the L1 norm of all and of what is kept. Returns 0 where memory is short. */
int32_t ranked(const delta_t *d, int64_t columns, int64_t first, int64_t last, float low, float step,
               const int32_t *key, uint8_t *mask, double *norms)
{
    uint32_t *u = malloc(4 * (size_t)columns), *kept = malloc(4 * (size_t)columns);
    float *uniform = malloc(4 * (size_t)columns);
    int32_t done = u && kept && uniform;
    for (int64_t row = first; done && row < last; row++) {
        int64_t from = row * columns;
        uint32_t most = 0, before[SPAN + 1] = {0};
        EACH_BLOCK(from, from + columns) sizes(d, at, n, u + (at - from));
        for (int64_t i = 0; i < columns; i++) most = u[i] > most ? u[i] : most;
        for (int64_t i = 0; i < columns; i++)
            uniform[i] = (float)hash_31(from + i, key) * 0x1p-31f;
        uint32_t floor = most >> FINE < SPAN ? 0 : (most >> FINE) - (SPAN - 1);
        for (int64_t i = 0; i < columns; i++) {
            uint32_t b = u[i] >> FINE;
            before[1 + (b > floor ? b - floor : 0)]++;
        }
        for (int b = 0; b < SPAN; b++) before[b + 1] += before[b];
        for (int64_t i = 0; i < columns; i++) {
            uint32_t b = u[i] >> FINE;
            b = b > floor ? b - floor : 0;
            float from_rank = low + step * (float)before[b];
            float to_rank = low + step * (float)(before[b + 1] - 1);
            int keep = uniform[i] < from_rank;
            if (!keep && uniform[i] < to_rank) {
                uint32_t rank = 0;
                for (int64_t j = 0; j < i; j++) rank += u[j] <= u[i];
                for (int64_t j = i; j < columns; j++) rank += u[j] < u[i];
                keep = uniform[i] < low + step * (float)rank;
            }
            mask[from + i] = (uint8_t)keep;
            kept[i] = keep ? u[i] : 0;
        }
        norms[2 * row] = total(u, columns);
        norms[2 * row + 1] = total(kept, columns);
    }
    free(u); free(kept); free(uniform);
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
