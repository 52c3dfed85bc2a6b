// The two products of a step. As many rows are summed at once as registers hold, a number that is
// known at compile time. A tile holds its features one after another, TILE pixels each.
#pragma once

#include "vectors.h"

#if LAYER_ROWS != 5 || OUTER_ROWS > 5
#error "the switches below are written for up to five rows"
#endif

// Weights of a layer: entry (i, o) is weight[i * step_in + o * step_out]; bias may be null.
typedef struct {
  int n_in, n_out, step_in, step_out;
  const float *weight, *bias;
} Affine;

INLINE void layer_rows(const int rows, const Affine *a, int from, const float *in, float *out) {
  const float *weight = a->weight + from * a->step_out;
  for (int g = 0; g < TILE; g += GROUP * LANES) {
    vec sums[LAYER_ROWS][GROUP];
    UNROLL
    for (int r = 0; r < rows; r++)
      UNROLL
      for (int v = 0; v < GROUP; v++) sums[r][v] = all(a->bias ? a->bias[from + r] : 0.0f);
    for (int i = 0; i < a->n_in; i++) {
      vec x[GROUP];
      UNROLL
      for (int v = 0; v < GROUP; v++) x[v] = load(in + i * TILE + g + v * LANES);
      UNROLL
      for (int r = 0; r < rows; r++) {
        const vec w = all(weight[i * a->step_in + r * a->step_out]);
        UNROLL
        for (int v = 0; v < GROUP; v++) sums[r][v] += w * x[v];
      }
    }
    UNROLL
    for (int r = 0; r < rows; r++)
      UNROLL
      for (int v = 0; v < GROUP; v++) store(out + (from + r) * TILE + g + v * LANES, sums[r][v]);
  }
}

// out[o] = bias[o] + sum over i of weight(i, o) * in[i], over a tile.
INLINE void layer(const Affine *a, const float *in, float *out) {
  int r = 0;
  for (; r + LAYER_ROWS <= a->n_out; r += LAYER_ROWS) layer_rows(LAYER_ROWS, a, r, in, out);
  switch (a->n_out - r) {
    case 1: layer_rows(1, a, r, in, out); return;
    case 2: layer_rows(2, a, r, in, out); return;
    case 3: layer_rows(3, a, r, in, out); return;
    case 4: layer_rows(4, a, r, in, out); return;
  }
}

// `n` features of tiles, which are `step` floats apart.
typedef struct {
  int n, step;
  const float *first;
} Rows;

INLINE void outer_block(const int rows, const int columns, int n_tiles, const Rows *a, int i,
                        const Rows *b, int j, vec *sums) {
  vec s[OUTER_ROWS][OUTER_ROWS];
  UNROLL
  for (int r = 0; r < rows; r++)
    UNROLL
    for (int c = 0; c < columns; c++) s[r][c] = sums[(i + r) * b->n + j + c];
  for (int t = 0; t < n_tiles; t++)
    for (int p = 0; p < TILE; p += LANES) {
      vec y[OUTER_ROWS];
      UNROLL
      for (int c = 0; c < columns; c++) y[c] = load(b->first + t * b->step + (j + c) * TILE + p);
      UNROLL
      for (int r = 0; r < rows; r++) {
        const vec x = load(a->first + t * a->step + (i + r) * TILE + p);
        UNROLL
        for (int c = 0; c < columns; c++) s[r][c] += x * y[c];
      }
    }
  UNROLL
  for (int r = 0; r < rows; r++)
    UNROLL
    for (int c = 0; c < columns; c++) sums[(i + r) * b->n + j + c] = s[r][c];
}

INLINE void outer_rows(const int rows, int n_tiles, const Rows *a, int i, const Rows *b, int from,
                       vec *sums) {
  int j = from;
  for (; j + OUTER_ROWS <= b->n; j += OUTER_ROWS)
    outer_block(rows, OUTER_ROWS, n_tiles, a, i, b, j, sums);
  switch (b->n - j) {
    case 1: outer_block(rows, 1, n_tiles, a, i, b, j, sums); return;
    case 2: outer_block(rows, 2, n_tiles, a, i, b, j, sums); return;
    case 3: outer_block(rows, 3, n_tiles, a, i, b, j, sums); return;
    case 4: outer_block(rows, 4, n_tiles, a, i, b, j, sums); return;
  }
}

// sums[i * b->n + j] += sum over tiles and pixels of a[i] * b[j], lane by lane. With `upper`, only
// entries on and right of the diagonal are needed, and few others are summed.
static void outer(int n_tiles, const Rows *a, const Rows *b, int upper, vec *sums) {
  int i = 0;
  for (; i + OUTER_ROWS <= a->n; i += OUTER_ROWS)
    outer_rows(OUTER_ROWS, n_tiles, a, i, b, upper ? i : 0, sums);
  switch (a->n - i) {
    case 1: outer_rows(1, n_tiles, a, i, b, upper ? i : 0, sums); return;
    case 2: outer_rows(2, n_tiles, a, i, b, upper ? i : 0, sums); return;
    case 3: outer_rows(3, n_tiles, a, i, b, upper ? i : 0, sums); return;
    case 4: outer_rows(4, n_tiles, a, i, b, upper ? i : 0, sums); return;
  }
}
