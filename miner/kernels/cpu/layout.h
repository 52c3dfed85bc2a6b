// The arguments of a call, and the memory of a thread.
#pragma once

#include "activations.h"

#define STRIP 4            // tiles whose gradients are summed while they are in the innermost cache
#define N_COEFFICIENTS 11  // numbers of a step, see Coefficients in ops.py

enum { HEADS };  // the classes in kernels/ops.py

typedef struct {
  int64_t inputs, width, depth, channels;  // E, H, hidden layers, C
  int64_t activation, n_numbers, head;     // n_numbers: trained in a layer, for its activation
  int64_t solved;    // 1 if the readout has a closed form, 0 if it is trained
  int64_t log_loss;  // 1: log(mse + floor), 0: mse
  double scale, ridge, floor;  // scale: ActivationOp in activations.py
  int64_t n_blocks, n_pixels, n_steps;
  int64_t moves;  // 0: steps only evaluate
  float *trained, *first, *second, *best_rows;  // blocks x row: parameters, moments, best state
  float *bases;                                 // blocks x bases_floats, or null: no SOAP
  float *mse, *best_mse;                        // blocks
  const float *encoded;                         // tiles x E x TILE
  const float *targets;       // blocks x tiles x C x TILE, zero beyond the pixels
  const int8_t *training;     // blocks: 0 for those that have left
  const float *coefficients;  // n_steps x N_COEFFICIENTS
  float *outputs;             // null, or memory for the outputs, laid out like targets
  int64_t *next;              // the next block to compute
} Work;

typedef struct {
  int inputs, width, depth, channels, n_tiles;
  int n_hidden, n_trained, n_row;  // a row: hidden layers, readout, and an amplitude if any
  int tile, soap_matrix;           // floats of a layer's tile, and of SOAP's largest matrix
  float *params, *grads;           // a row; `params` is the caller's
  float *folded;                   // hidden layers times their scales
  float *values, *dvalues, *dshapes;  // tiles x depth x width x TILE
  float *centred, *residual, *delta;
  float *moves, *soap;             // a row and five matrices, for SOAP
  vec *layer_sums, *readout_sums;
  double *joint, *factor, *solution, *mean;
  vec mask[TILE_VECTORS];  // 1 at the real pixels of the last tile
} Workspace;

INLINE int padded(int n) { return (n + LANES - 1) / LANES * LANES; }

INLINE int inputs_of(const Workspace *s, int layer) { return layer == 0 ? s->inputs : s->width; }

// Where a layer's weights start; its biases and its activation's numbers follow.
INLINE int offset_of(const Work *w, const Workspace *s, int layer) {
  const int numbers = (int)w->n_numbers;
  return layer == 0 ? 0
                    : (s->inputs + 1) * s->width + numbers +
                          (layer - 1) * ((s->width + 1) * s->width + numbers);
}

// The scale and the shape of a layer, see ActivationOp in activations.py.
INLINE float layer_scale(const Work *w, const Workspace *s, int layer, float *shape) {
  const float *numbers = s->params + offset_of(w, s, layer) + (inputs_of(s, layer) + 1) * s->width;
  const float scale = (float)w->scale;
  *shape = w->n_numbers == 2 ? numbers[1] / numbers[0] : 0.0f;
  return w->n_numbers == 0 ? scale : w->n_numbers == 1 ? scale / numbers[0] : numbers[0];
}

// Layer `l` of tile `t` in values, dvalues or dshapes.
INLINE float *layer_tile(const Workspace *s, float *rows, int t, int l) {
  return rows + ((int64_t)t * s->depth + l) * s->tile;
}

INLINE void *allocate(char **memory, size_t n_bytes) {
  void *allocated = *memory;
  *memory += (n_bytes + 63) & ~(size_t)63;
  return allocated;
}

// Lays out a thread's memory and returns its size. Writes nothing to `memory`, which may be null.
static size_t lay_out(const Work *w, Workspace *s, char *memory) {
  char *end = memory;
  s->inputs = (int)w->inputs, s->width = (int)w->width;
  s->depth = (int)w->depth, s->channels = (int)w->channels;
  s->n_tiles = (int)((w->n_pixels + TILE - 1) / TILE);
  s->tile = s->width * TILE;
  s->n_hidden = offset_of(w, s, s->depth);
  const int n_readout = (s->width + 1) * s->channels, is_sine = w->head == ScaledSineHead;
  s->n_trained = s->n_hidden + (w->solved ? 0 : n_readout + is_sine);
  s->n_row = s->n_hidden + n_readout + 2 * is_sine;
  const int columns = s->width + s->channels, n = s->width;
  const size_t layers = (size_t)s->n_tiles * s->depth * s->tile * sizeof(float);
  s->grads = allocate(&end, s->n_row * sizeof(float));
  s->folded = allocate(&end, s->n_hidden * sizeof(float));
  s->centred = allocate(&end, (size_t)STRIP * columns * TILE * sizeof(float));
  s->residual = allocate(&end, (size_t)STRIP * s->channels * TILE * sizeof(float));
  s->delta = allocate(&end, s->tile * sizeof(float));
  s->layer_sums = allocate(&end, (size_t)(s->inputs + (s->depth - 1) * n) * n * sizeof(vec));
  s->readout_sums = allocate(&end, (size_t)n * columns * sizeof(vec));
  s->joint = allocate(&end, (size_t)n * columns * sizeof(double));
  s->factor = allocate(&end, (size_t)n * n * sizeof(double));
  s->solution = allocate(&end, (size_t)n * s->channels * sizeof(double));
  s->mean = allocate(&end, columns * sizeof(double));
  s->values = allocate(&end, layers), s->dvalues = allocate(&end, layers);
  const int most = s->inputs > n ? s->inputs : n;
  const int side = (most > s->channels ? most : s->channels) + 1;
  s->soap_matrix = side * padded(side);
  s->moves = allocate(&end, w->bases ? s->n_row * sizeof(float) : 0);
  s->soap = allocate(&end, w->bases ? 5 * s->soap_matrix * sizeof(float) : 0);
  s->dshapes = w->n_numbers == 2 ? allocate(&end, layers) : s->dvalues;
  return end - memory;
}
