// The output layer, solved for at every step or trained: miner/fitting/readout.py, models/heads.py.
#pragma once

#include "layout.h"

// Solves (gram + penalty) x = moment, of which `joint` has the columns, by the upper Cholesky factor.
// The upper triangle is read. 0 if there is no factor, or x is not finite.
static int solve_ridge(int n, int columns, double (*joint)[columns], double penalty,
                       double (*factor)[n], double (*x)[columns - n]) {
  double check = 0.0;
  for (int i = 0; i < n; i++)
    for (int j = i; j < n; j++) factor[i][j] = joint[i][j] + (i == j ? penalty : 0.0);
  for (int k = 0; k < n; k++) {
    const double pivot = factor[k][k];
    if (!(pivot > 0.0) || !isfinite(pivot)) return 0;
    const double inverse = 1.0 / sqrt(pivot);
    for (int j = k; j < n; j++) factor[k][j] *= inverse;
    for (int i = k + 1; i < n; i++) {
      const double f = factor[k][i];
      for (int j = i; j < n; j++) factor[i][j] -= f * factor[k][j];
    }
  }
  for (int c = 0; c < columns - n; c++) {
    for (int i = 0; i < n; i++) x[i][c] = joint[i][n + c];
    for (int i = 0; i < n; i++) {
      x[i][c] /= factor[i][i];
      for (int j = i + 1; j < n; j++) x[j][c] -= factor[i][j] * x[i][c];
    }
    for (int i = n - 1; i >= 0; i--) {
      for (int j = i + 1; j < n; j++) x[i][c] -= factor[i][j] * x[j][c];
      x[i][c] /= factor[i][i];
      check += fabs(x[i][c]);
    }
  }
  return isfinite(check);
}

// Row `i` of a tile of features and, after them, targets.
INLINE const float *joint_row(const Workspace *s, const float *targets, int t, int i) {
  return i < s->width ? layer_tile(s, s->values, t, s->depth - 1) + i * TILE
                      : targets + ((int64_t)t * s->channels + i - s->width) * TILE;
}

// Means of features and targets, and the upper triangle of the sums of their centred products.
// Rows are centred before they are summed: centring a Gram matrix of floats would lose digits.
static void sum_products(const Work *w, Workspace *s, const float *targets) {
  const int n = s->width, columns = s->width + s->channels;
  for (int i = 0; i < columns; i++) {
    vec total = {0};
    for (int t = 0; t < s->n_tiles; t++) {
      const float *row = joint_row(s, targets, t, i);
      for (int v = 0; v < TILE_VECTORS; v++)
        total += t == s->n_tiles - 1 ? load(row + v * LANES) * s->mask[v] : load(row + v * LANES);
    }
    s->mean[i] = sum(total) / (double)w->n_pixels;
  }
  memset(s->readout_sums, 0, n * columns * sizeof(vec));
  for (int t = 0; t < s->n_tiles; t += STRIP) {
    const int tiles = s->n_tiles - t < STRIP ? s->n_tiles - t : STRIP;
    for (int k = 0; k < tiles; k++)
      for (int i = 0; i < columns; i++) {
        const float *row = joint_row(s, targets, t + k, i);
        float *out = s->centred + (k * columns + i) * TILE;
        const float mean = (float)s->mean[i];
        for (int v = 0; v < TILE_VECTORS; v++) {
          const vec x = load(row + v * LANES) - mean;
          store(out + v * LANES, t + k == s->n_tiles - 1 ? x * s->mask[v] : x);
        }
      }
    const Rows left = {n, columns * TILE, s->centred}, all = {columns, columns * TILE, s->centred};
    outer(tiles, &left, &all, 1, s->readout_sums);
  }
  for (int i = 0; i < n; i++)
    for (int j = i; j < columns; j++)
      s->joint[i * columns + j] = sum(s->readout_sums[i * columns + j]);
}

// Readout weights and biases of least squares. If a factorisation fails it is repeated with a
// larger penalty; if all do, weights are zero.
static void solve(const Work *w, Workspace *s, const float *targets) {
  static const double factors[4] = {1.0, 1e2, 1e4, 1e6};
  const int n = s->width, channels = s->channels, columns = n + channels;
  double(*joint)[columns] = (void *)s->joint, (*factor)[n] = (void *)s->factor;
  double(*x)[channels] = (void *)s->solution, diagonal = 0.0;
  float *weight = s->params + s->n_hidden, *bias = weight + n * channels;
  sum_products(w, s, targets);
  for (int i = 0; i < n; i++) diagonal += joint[i][i];
  const double penalty = w->ridge * fmax(diagonal / n, 1e-12);
  int solved = 0;
  for (int attempt = 0; attempt < 4 && !solved; attempt++)
    solved = solve_ridge(n, columns, joint, penalty * factors[attempt], factor, x);
  if (!solved) memset(x, 0, n * sizeof *x);
  for (int c = 0; c < channels; c++) {
    double b = s->mean[n + c];
    for (int i = 0; i < n; i++) {
      b -= s->mean[i] * x[i][c];
      weight[i * channels + c] = (float)x[i][c];
    }
    bias[c] = (float)(isfinite(b) ? b : s->mean[n + c]);
  }
}

// Output of the head for z, and its derivatives with respect to z and the frequency.
INLINE vec respond(int64_t head, vec z, float amplitude, float frequency, vec *dvalue,
                   vec *dfrequency) {
  vec y, sine, cosine;
  switch (head) {
    case SigmoidHead:
      y = 1.0f / (1.0f + exponential(-z));
      *dvalue = y * (1.0f - y);
      return y;
    case ScaledSineHead:
      sine_cosine(frequency * z, &sine, &cosine);
      *dvalue = amplitude * frequency * cosine;
      *dfrequency = amplitude * z * cosine;
      return amplitude * sine;
    default: *dvalue = all(1.0f); return z;  // LinearHead
  }
}
