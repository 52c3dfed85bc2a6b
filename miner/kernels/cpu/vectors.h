// Vectors of floats in the GCC extension that clang shares, and the functions they need.
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
