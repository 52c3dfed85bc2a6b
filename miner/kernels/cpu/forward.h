// From parameters to features and, by least squares, the readout.
#pragma once

#include "products.h"
#include "layout.h"

static void forward(const Work *w, Workspace *s) {
  for (int l = 0; l < s->depth; l++) {
    const int from = offset_of(w, s, l), n = (inputs_of(s, l) + 1) * s->width;
    float shape;
    const float scale = layer_scale(w, s, l, &shape);
    for (int i = 0; i < n; i++) s->folded[from + i] = scale * s->params[from + i];
  }
  for (int t = 0; t < s->n_tiles; t++)
    for (int l = 0; l < s->depth; l++) {
      const float *weight = s->folded + offset_of(w, s, l);
      const Affine a = {inputs_of(s, l), s->width, s->width, 1, weight,
                        weight + inputs_of(s, l) * s->width};
      float *values = layer_tile(s, s->values, t, l), shape;
      layer(&a, l == 0 ? w->encoded + (int64_t)t * s->inputs * TILE : values - s->tile, values);
      layer_scale(w, s, l, &shape);
      activate_layer(w->activation, s->tile, shape, values, layer_tile(s, s->dvalues, t, l),
                     layer_tile(s, s->dshapes, t, l));
    }
}

// Row `i` of a tile of features and, after them, targets.
INLINE const float *joint_row(const Workspace *s, const float *targets, int t, int i) {
  return i < s->width ? layer_tile(s, s->values, t, s->depth - 1) + i * TILE
                      : targets + ((int64_t)t * s->channels + i - s->width) * TILE;
}

// Readout weights and biases of least squares. Rows are centred before they are summed: centring a
// Gram matrix of floats would lose digits.
static void solve(const Work *w, Workspace *s, const float *targets) {
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
  for (int i = 0; i < n; i++) {
    for (int j = i; j < n; j++) s->gram[i * n + j] = sum(s->readout_sums[i * columns + j]);
    for (int c = 0; c < s->channels; c++)
      s->moment[i * s->channels + c] = sum(s->readout_sums[i * columns + n + c]);
  }
  solve_readout(n, s->channels, (double(*)[n])s->gram, (double(*)[s->channels])s->moment, s->mean,
                w->ridge, (double(*)[n])s->factor, (double(*)[s->channels])s->solution,
                s->params + s->n_hidden, s->params + s->n_hidden + n * s->channels);
}
