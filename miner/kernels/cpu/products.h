// The two products of a step. As many rows are summed at once as registers hold.
#pragma once

#include "vectors.h"

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
