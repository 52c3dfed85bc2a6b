// Vectors of floats in the GCC extension that clang shares, their functions, and the two products
// of a step, which sum as many rows at once as registers hold.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#define GROUP 4       // vectors of pixels that a layer reads at once
#define OUTER_ROWS 5  // rows and columns of an outer product that are summed at once
#elif defined(__AVX__)
#define LANES 8
#define GROUP 2
#define OUTER_ROWS 3
#else
#define LANES 4
#define GROUP 4
#define OUTER_ROWS 4
#endif

#define LAYER_ROWS 5  // outputs of a layer that are summed at once
#define TILE 64       // pixels that are stored together, feature after feature
#define TILE_VECTORS (TILE / LANES)
#define INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif
#define EACH(i, n) UNROLL for (int i = 0; i < n; i++)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

INLINE vec all(float x) { return (vec){0} + x; }
INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec x) { *(vec *)p = x; }
INLINE vec select(ivec mask, vec a, vec b) { return (vec)((mask & (ivec)a) | (~mask & (ivec)b)); }
INLINE vec absolute(vec x) { return (vec)((ivec)x & 0x7fffffff); }

INLINE float sum(vec x) {
  float lane[LANES];
  memcpy(lane, &x, sizeof lane);
  for (int width = LANES / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lane[i] += lane[i + width];
  return lane[0];
}

// Nearest integer; the lowest bits of *bits are those of that integer.
INLINE vec nearest(vec x, ivec *bits) {
  const vec shifted = x + 12582912.0f;  // 1.5 * 2^23: no bits are left for a fraction
  *bits = (ivec)shifted;
  return shifted - 12582912.0f;
}

// Sine and cosine: x less the nearest multiple of pi, in three parts, and polynomials fitted over
// [-pi/2, pi/2] to 6e-9. Good to 1e-7 for |x| up to 1e7; NaN where floats are too coarse.
INLINE void sine_cosine(vec x, vec *sine, vec *cosine) {
  ivec bits;
  const vec n = nearest(x * 0.31830988618f, &bits);
  const ivec sign = bits << 31;
  vec r = x - n * 3.140625f;
  r = r - n * 9.676218032836914e-4f;
  r = r - n * 3.1786509424591713e-8f;
  r = select(absolute(r) < 2.0f, r, all(NAN));  // an argument whose multiple of pi was not found
  const vec q = r * r;
  vec s = ((q * 2.60578067e-6f - 1.98096029e-4f) * q + 8.33306625e-3f) * q - 1.66666596e-1f;
  s = (s * q) * r + r;
  vec c = ((q * -2.60771057e-7f + 2.47618863e-5f) * q - 1.38884035e-3f) * q + 4.16666407e-2f;
  c = (c * q - 4.99999995e-1f) * q + 1.0f;
  *sine = (vec)((ivec)s ^ sign);
  *cosine = (vec)((ivec)c ^ sign);
}

// exp, zero below -87 and that of 88 above it; 3e-9 besides rounding.
INLINE vec exponential(vec x) {
  ivec bits;
  x = select(x > 88.0f, all(88.0f), x);
  const vec n = nearest(x * 1.44269504f, &bits);
  vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  vec e = ((r * 1.39505e-3f + 8.36888e-3f) * r + 4.166621e-2f) * r + 1.6666519e-1f;
  e = e * r + 5.0000001e-1f;
  e = (e * r) * r + (r + 1.0f);
  e = (vec)((ivec)e + (bits << 23));
  return select(x < -87.0f, all(0.0f), e);
}

_Static_assert(LAYER_ROWS <= 5 && OUTER_ROWS <= 5, "REST is written for up to five rows");

// Calls a function with the number of remaining rows, which is then known at compile time.
#define REST(n, f, ...)                  \
  switch (n) {                           \
    case 1: f(1, __VA_ARGS__); return;   \
    case 2: f(2, __VA_ARGS__); return;   \
    case 3: f(3, __VA_ARGS__); return;   \
    case 4: f(4, __VA_ARGS__); return;   \
  }

// Weights of a layer: entry (i, o) is weight[i * step_in + o * step_out]; bias may be null.
typedef struct {
  int n_in, n_out, step_in, step_out;
  const float *weight, *bias;
} Affine;

INLINE void layer_rows(const int rows, const Affine *a, int from, const float *in, float *out) {
  const float *weight = a->weight + from * a->step_out;
  for (int g = 0; g < TILE; g += GROUP * LANES) {
    vec sums[LAYER_ROWS][GROUP];
    EACH(r, rows)
      EACH(v, GROUP) sums[r][v] = all(a->bias ? a->bias[from + r] : 0.0f);
    for (int i = 0; i < a->n_in; i++) {
      vec x[GROUP];
      EACH(v, GROUP) x[v] = load(in + i * TILE + g + v * LANES);
      EACH(r, rows) {
        const vec w = all(weight[i * a->step_in + r * a->step_out]);
        EACH(v, GROUP) sums[r][v] += w * x[v];
      }
    }
    EACH(r, rows)
      EACH(v, GROUP) store(out + (from + r) * TILE + g + v * LANES, sums[r][v]);
  }
}

// out[o] = bias[o] + sum over i of weight(i, o) * in[i], over a tile.
INLINE void layer(const Affine *a, const float *in, float *out) {
  int r = 0;
  for (; r + LAYER_ROWS <= a->n_out; r += LAYER_ROWS) layer_rows(LAYER_ROWS, a, r, in, out);
  REST(a->n_out - r, layer_rows, a, r, in, out)
}

// `n` features of tiles, which are `step` floats apart.
typedef struct {
  int n, step;
  const float *first;
} Rows;

INLINE void outer_block(const int columns, const int rows, int n_tiles, const Rows *a, int i,
                        const Rows *b, int j, vec *sums) {
  vec s[OUTER_ROWS][OUTER_ROWS];
  EACH(r, rows)
    EACH(c, columns) s[r][c] = sums[(i + r) * b->n + j + c];
  for (int t = 0; t < n_tiles; t++)
    for (int p = 0; p < TILE; p += LANES) {
      vec y[OUTER_ROWS];
      EACH(c, columns) y[c] = load(b->first + t * b->step + (j + c) * TILE + p);
      EACH(r, rows) {
        const vec x = load(a->first + t * a->step + (i + r) * TILE + p);
        EACH(c, columns) s[r][c] += x * y[c];
      }
    }
  EACH(r, rows)
    EACH(c, columns) sums[(i + r) * b->n + j + c] = s[r][c];
}

INLINE void outer_rows(const int rows, int n_tiles, const Rows *a, int i, const Rows *b, int from,
                       vec *sums) {
  int j = from;
  for (; j + OUTER_ROWS <= b->n; j += OUTER_ROWS)
    outer_block(OUTER_ROWS, rows, n_tiles, a, i, b, j, sums);
  REST(b->n - j, outer_block, rows, n_tiles, a, i, b, j, sums)
}

// sums[i * b->n + j] += sum of a[i] * b[j], lane by lane; `upper` skips most below the diagonal.
static void outer(int n_tiles, const Rows *a, const Rows *b, int upper, vec *sums) {
  int i = 0;
  for (; i + OUTER_ROWS <= a->n; i += OUTER_ROWS)
    outer_rows(OUTER_ROWS, n_tiles, a, i, b, upper ? i : 0, sums);
  REST(a->n - i, outer_rows, n_tiles, a, i, b, upper ? i : 0, sums)
}
