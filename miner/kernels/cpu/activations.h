// The activations of kernels/activations.py, which the compiler gets as ACTIVATIONS(ROW): a
// ROW(number, has_shape, statements) for each. The statements compute, from `u`, the affine map of
// a layer times the activation's scale, its value and the derivatives for u and for the shape.
#pragma once

#include "vectors.h"

#define ONE(...) +1
enum { N_ACTIVATIONS = ACTIVATIONS(ONE) };

#define ROW_LOOP(NUMBER, HAS_SHAPE, ...)         \
  case NUMBER:                                   \
    for (int i = 0; i < n; i += LANES) {         \
      const vec u = load(values + i);            \
      vec value, dvalue, dshape;                 \
      __VA_ARGS__                                \
      store(values + i, value);                  \
      store(dvalues + i, dvalue);                \
      if (HAS_SHAPE) store(dshapes + i, dshape); \
    }                                            \
    return;

// Replaces pre-activations in `values` by values; also stores their derivatives.
static void activate_layer(int64_t activation, int n, float shape, float *values, float *dvalues,
                           float *dshapes) {
  switch (activation) { ACTIVATIONS(ROW_LOOP) }  // one loop for each, without branches
}
