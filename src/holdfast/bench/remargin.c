/* The yardstick of the re-margin benchmark: the scan requirement of every account, in C, with the widest vectors there are.

   It does the same work as holdfast.margin.kernel.sweep_scan on the same arrays (worst reduction, no basis contingency)
   and is meant to be hard to beat: runs of positions are found first and without branches, so that the vector loops know
   their lengths; accumulators stay in registers; products and sums are fused where the processor can. So its results
   differ from the kernel's in the last bits. AVX-512, AVX2 or plain C is chosen when compiling with -march=native.

   SCENARIOS is fixed at 32. Rows of `values` and `multipliers` are aligned to 64 bytes. */

#include <stdint.h>

#define SCENARIOS 32
#define LONGEST_ACCOUNT 1024

#if defined(__AVX512F__) && defined(__AVX512DQ__)
#include <immintrin.h>
#define LANES 8
#define BLOCK 4 /* registers of scenarios that one pass keeps */
typedef __m512d vector;
static inline vector zero(void) { return _mm512_setzero_pd(); }
static inline vector splat(double x) { return _mm512_set1_pd(x); }
static inline vector load(const double *p) { return _mm512_load_pd(p); }
static inline vector multiply_add(vector x, vector y, vector z) { return _mm512_fmadd_pd(x, y, z); }
static inline vector multiply_subtract(vector x, vector y, vector z) { return _mm512_fmsub_pd(x, y, z); }
static inline vector smaller(vector x, vector y) { return _mm512_min_pd(x, y); }
static inline vector by_sign(vector x, vector positive, vector other) {
  return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(x, _mm512_setzero_pd(), _CMP_GT_OQ), other, positive);
}
static inline double lowest(vector x) { return _mm512_reduce_min_pd(x); }
const char *vectors(void) { return "AVX-512"; }

#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
#define LANES 4
#define BLOCK 4
typedef __m256d vector;
static inline vector zero(void) { return _mm256_setzero_pd(); }
static inline vector splat(double x) { return _mm256_set1_pd(x); }
static inline vector load(const double *p) { return _mm256_load_pd(p); }
static inline vector multiply_add(vector x, vector y, vector z) { return _mm256_fmadd_pd(x, y, z); }
static inline vector multiply_subtract(vector x, vector y, vector z) { return _mm256_fmsub_pd(x, y, z); }
static inline vector smaller(vector x, vector y) { return _mm256_min_pd(x, y); }
static inline vector by_sign(vector x, vector positive, vector other) {
  return _mm256_blendv_pd(other, positive, _mm256_cmp_pd(x, _mm256_setzero_pd(), _CMP_GT_OQ));
}
static inline double lowest(vector x) {
  __m128d half = _mm_min_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_min_sd(half, _mm_unpackhi_pd(half, half)));
}
const char *vectors(void) { return "AVX2"; }

#else /* The compiler vectorises these short loops where it can. */
#define LANES 4
#define BLOCK 2
typedef struct {
  double lane[LANES];
} vector;
#define EACH(expression)                        \
  vector result;                                \
  for (int i = 0; i < LANES; i++) {             \
    result.lane[i] = (expression);              \
  }                                             \
  return result
static inline vector splat(double x) { EACH(x); }
static inline vector zero(void) { return splat(0.0); }
static inline vector load(const double *p) { EACH(p[i]); }
static inline vector multiply_add(vector x, vector y, vector z) { EACH(x.lane[i] * y.lane[i] + z.lane[i]); }
static inline vector multiply_subtract(vector x, vector y, vector z) { EACH(x.lane[i] * y.lane[i] - z.lane[i]); }
static inline vector smaller(vector x, vector y) { EACH(x.lane[i] < y.lane[i] ? x.lane[i] : y.lane[i]); }
static inline vector by_sign(vector x, vector positive, vector other) {
  EACH(x.lane[i] > 0.0 ? positive.lane[i] : other.lane[i]);
}
static inline double lowest(vector x) {
  double least = x.lane[0];
  for (int i = 1; i < LANES; i++) {
    least = x.lane[i] < least ? x.lane[i] : least;
  }
  return least;
}
const char *vectors(void) { return "none by hand"; }
#endif

/* Writes the index after each run of positions with one tag to `ends` and returns how many runs there are. */
static inline int64_t find_runs(const int32_t *line, const int32_t *tag, int64_t begin, int64_t end, int32_t *ends) {
  int64_t runs = 0;
  int32_t current = tag[line[begin]];
  for (int64_t k = begin + 1; k < end; k++) {
    int32_t next = tag[line[k]];
    ends[runs] = (int32_t)(k - begin);
    runs += next != current;
    current = next;
  }
  ends[runs] = (int32_t)(end - begin);
  return runs + 1;
}

/* min(worst, total over the lanes), without a branch on the sign, which nobody can predict. */
static inline double worse_of(double worst, const vector total[BLOCK]) {
  vector least = total[0];
  for (int i = 1; i < BLOCK; i++) {
    least = smaller(least, total[i]);
  }
  return lowest(smaller(splat(worst), least));
}

/* Adds the positions begin..end to `value`, for the scenarios from `offset` on, and unless `today` is null to `at_mark`. */
static inline void add_positions(const int32_t *line, const double *quantity, const double *values, const double *today,
                                 int64_t begin, int64_t end, int64_t offset, vector value[BLOCK], double *at_mark) {
  for (int64_t k = begin; k < end; k++) {
    const double *row = values + SCENARIOS * (int64_t)line[k] + offset;
    vector q = splat(quantity[k]);
    for (int i = 0; i < BLOCK; i++) {
      value[i] = multiply_add(q, load(row + LANES * i), value[i]);
    }
    if (today) {
      *at_mark += quantity[k] * today[line[k]];
    }
  }
}

/* Both pairs of multipliers, [groups][4][SCENARIOS]: value by sign, then result by sign.
   Returns 0, or −1 if an account has more positions than the buffer of runs. */
int sweep_groups(int64_t accounts, const int64_t *pointer, const int32_t *line, const double *quantity,
                 const double *values, const double *today, const int32_t *group, const int32_t *underlying,
                 const double *multipliers, double *out) {
  int32_t ends[LONGEST_ACCOUNT + 1];
  for (int64_t a = 0; a < accounts; a++) {
    int64_t first = pointer[a], count = pointer[a + 1] - first;
    if (count > LONGEST_ACCOUNT) {
      return -1;
    }
    double requirement = 0.0;
    int64_t runs = count > 0 ? find_runs(line, group, first, first + count, ends) : 0;
    for (int64_t run = 0, begin = first; run < runs;) {
      int64_t from_run = run, from = begin;
      int32_t held = underlying[line[begin]];
      double worst = 0.0;
      for (int64_t offset = 0; offset < SCENARIOS; offset += LANES * BLOCK) {
        vector total[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
          total[i] = zero();
        }
        run = from_run;
        begin = from;
        do {
          vector value[BLOCK];
          double at_mark = 0.0;
          for (int i = 0; i < BLOCK; i++) {
            value[i] = zero();
          }
          int64_t end = first + ends[run];
          const double *m = multipliers + 4 * SCENARIOS * (int64_t)group[line[begin]] + offset;
          add_positions(line, quantity, values, today, begin, end, offset, value, &at_mark);
          vector v0 = splat(at_mark);
          for (int i = 0; i < BLOCK; i++, m += LANES) {
            vector by_value = by_sign(value[i], load(m), load(m + SCENARIOS));
            vector result = multiply_subtract(by_value, value[i], v0);
            vector by_result = by_sign(result, load(m + 2 * SCENARIOS), load(m + 3 * SCENARIOS));
            total[i] = multiply_add(by_result, result, total[i]);
          }
          begin = end;
          run++;
        } while (run < runs && underlying[line[begin]] == held);
        worst = worse_of(worst, total);
      }
      requirement -= worst;
    }
    out[a] = requirement;
  }
  return 0;
}

/* All multipliers 1: an underlying is one run, and `changes` holds V[s] − V0, subtracted once for the whole table. */
int sweep_underlyings(int64_t accounts, const int64_t *pointer, const int32_t *line, const double *quantity,
                      const double *changes, const int32_t *underlying, double *out) {
  int32_t ends[LONGEST_ACCOUNT + 1];
  for (int64_t a = 0; a < accounts; a++) {
    int64_t first = pointer[a], count = pointer[a + 1] - first;
    if (count > LONGEST_ACCOUNT) {
      return -1;
    }
    double requirement = 0.0;
    int64_t runs = count > 0 ? find_runs(line, underlying, first, first + count, ends) : 0;
    for (int64_t run = 0, begin = first; run < runs; run++) {
      int64_t end = first + ends[run];
      double worst = 0.0;
      for (int64_t offset = 0; offset < SCENARIOS; offset += LANES * BLOCK) {
        vector total[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
          total[i] = zero();
        }
        add_positions(line, quantity, changes, 0, begin, end, offset, total, 0);
        worst = worse_of(worst, total);
      }
      requirement -= worst;
      begin = end;
    }
    out[a] = requirement;
  }
  return 0;
}
