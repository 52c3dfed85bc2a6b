// The activations of miner/models/activations.py: functions of u, the affine map of a layer times
// the activation's scale, and their derivatives with respect to u and Gabor's trained `shape`.
#pragma once

#include "vectors.h"

enum { GAUSSIAN, SINE, SIREN, RELU, GABOR, FINER };

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

INLINE void activate(const int activation, vec u, float shape, vec *value, vec *dvalue,
                     vec *dshape) {
  vec sine, cosine, envelope;
  switch (activation) {
    case GAUSSIAN:
      *value = exponential(-(u * u));
      *dvalue = -2.0f * u * *value;
      return;
    case RELU:
      *value = select(u <= 0.0f, all(0.0f), u);  // a NaN stays one
      *dvalue = select(u <= 0.0f, all(0.0f), all(1.0f));
      return;
    case GABOR:
      sine_cosine(u, &sine, &cosine);
      envelope = exponential(-(shape * u) * (shape * u));
      *value = cosine * envelope;
      *dvalue = -sine * envelope - 2.0f * shape * shape * u * *value;
      *dshape = -2.0f * shape * u * u * *value;
      return;
    case FINER:
      sine_cosine((absolute(u) + 1.0f) * u, value, dvalue);
      *dvalue = *dvalue * (2.0f * absolute(u) + 1.0f);
      return;
    default: sine_cosine(u, value, dvalue);
  }
}

// Replaces pre-activations in `values` by values; also stores their derivatives.
INLINE void activate_rows(const int activation, int n, float shape, float *values, float *dvalues,
                          float *dshapes) {
  for (int i = 0; i < n; i += LANES) {
    vec value, dvalue, dshape;
    activate(activation, load(values + i), shape, &value, &dvalue, &dshape);
    store(values + i, value);
    store(dvalues + i, dvalue);
    if (activation == GABOR) store(dshapes + i, dshape);
  }
}

static void activate_layer(int64_t activation, int n, float shape, float *values, float *dvalues,
                           float *dshapes) {
  switch (activation) {  // one loop for each, without branches
    case GAUSSIAN: activate_rows(GAUSSIAN, n, shape, values, dvalues, dshapes); return;
    case RELU: activate_rows(RELU, n, shape, values, dvalues, dshapes); return;
    case GABOR: activate_rows(GABOR, n, shape, values, dvalues, dshapes); return;
    case FINER: activate_rows(FINER, n, shape, values, dvalues, dshapes); return;
    default: activate_rows(SINE, n, shape, values, dvalues, dshapes);
  }
}
