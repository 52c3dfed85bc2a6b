// The activations of miner/models/activations.py: value and slope of a function of u, the affine map
// of a layer times the activation's scale. Gabor's function has a trained number of its own besides
// the scale, `shape`; `bend` is the slope with respect to it.
#ifndef MINER_ACTIVATIONS_H
#define MINER_ACTIVATIONS_H

#include "vectors.h"

enum { GAUSSIAN, SINE, SIREN, RELU, GABOR, FINER };

INLINE int has_shape(int64_t activation) { return activation == GABOR; }

// Trained numbers of a layer besides weights and biases.
INLINE int n_numbers(int64_t activation) {
  return activation == GABOR ? 2 : activation == SIREN || activation == RELU ? 0 : 1;
}

// The scale and the shape in a layer, from its trained numbers.
INLINE float scale_of(int64_t activation, float omega, const float *numbers, float *shape) {
  *shape = 0.0f;
  switch (activation) {
    case GAUSSIAN: return 0.70710678f / numbers[0];
    case SINE: case FINER: return 1.0f / numbers[0];
    case GABOR: *shape = numbers[1] / numbers[0]; return numbers[0];
    case SIREN: return omega;
    default: return 1.0f;
  }
}

INLINE void activate(const int activation, vec u, float shape, vec *value, vec *slope, vec *bend) {
  vec sine, cosine, envelope;
  switch (activation) {
    case GAUSSIAN:
      *value = exponential(-(u * u));
      *slope = -2.0f * u * *value;
      return;
    case RELU:
      *value = choose(u <= 0.0f, all(0.0f), u);  // a NaN stays one
      *slope = choose(u <= 0.0f, all(0.0f), all(1.0f));
      return;
    case GABOR:
      sine_cosine(u, &sine, &cosine);
      envelope = exponential(-(shape * u) * (shape * u));
      *value = cosine * envelope;
      *slope = -sine * envelope - 2.0f * shape * shape * u * *value;
      *bend = -2.0f * shape * u * u * *value;
      return;
    case FINER:
      sine_cosine((absolute(u) + 1.0f) * u, value, slope);
      *slope = *slope * (2.0f * absolute(u) + 1.0f);
      return;
    default: sine_cosine(u, value, slope);
  }
}

// Takes pre-activations in `values` and leaves values, slopes and bends.
INLINE void activate_rows(const int activation, int n, float shape, float *values, float *slopes,
                          float *bends) {
  for (int i = 0; i < n; i += LANES) {
    vec value, slope, bend;
    activate(activation, at(values + i), shape, &value, &slope, &bend);
    put(values + i, value);
    put(slopes + i, slope);
    if (activation == GABOR) put(bends + i, bend);
  }
}

static void activate_layer(int64_t activation, int n, float shape, float *values, float *slopes,
                           float *bends) {
  switch (activation) {  // a loop of its own for each, so that none asks within
    case GAUSSIAN: activate_rows(GAUSSIAN, n, shape, values, slopes, bends); return;
    case RELU: activate_rows(RELU, n, shape, values, slopes, bends); return;
    case GABOR: activate_rows(GABOR, n, shape, values, slopes, bends); return;
    case FINER: activate_rows(FINER, n, shape, values, slopes, bends); return;
    default: activate_rows(SINE, n, shape, values, slopes, bends);
  }
}

#endif
