// Training steps of block networks as defined in miner/fitting/steps.py. One thread computes a block
// in a fixed order, in its core's cache, so results depend neither on batching nor on threads.
#include "readout.h"
#include "soap.h"

// Values and derivatives of all layers.
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

// Outputs of a tile or, with targets, residuals times the head's derivative. Adds to the two sums.
INLINE void compute_tile(const Work *w, const Workspace *s, const float *targets, int t, float *out,
                         vec *squares, vec *frequency_sum) {
  const float *weight = s->params + s->n_hidden, *bias = weight + s->width * s->channels;
  const Affine readout = {s->width, s->channels, s->channels, 1, weight, bias};
  const float frequency = w->head == ScaledSineHead ? bias[s->channels] : 0.0f;
  const float amplitude = w->head == ScaledSineHead ? bias[s->channels + 1] : 0.0f;
  layer(&readout, layer_tile(s, s->values, t, s->depth - 1), out);
  for (int i = 0; i < s->channels * TILE; i += LANES) {
    vec dvalue, dfrequency = {0};
    vec r = respond(w->head, load(out + i), amplitude, frequency, &dvalue, &dfrequency);
    if (targets) {
      r -= load(targets + (int64_t)t * s->channels * TILE + i);
      if (t == s->n_tiles - 1) r *= s->mask[i % TILE / LANES];
      *squares += r * r;
      *frequency_sum += r * dfrequency;
      r *= dvalue;
    }
    store(out + i, r);
  }
}

// Replaces the derivatives of a tile by the gradients of pre-activations.
static void backpropagate(const Work *w, Workspace *s, int t, const float *residual,
                          vec *shape_sums) {
  for (int l = s->depth - 1; l >= 0; l--) {
    float *dvalues = layer_tile(s, s->dvalues, t, l);
    const float *dshapes = layer_tile(s, s->dshapes, t, l);
    const int last = l == s->depth - 1, n_above = last ? s->channels : s->width;
    const float *weight = (last ? s->params : s->folded) + offset_of(w, s, l + 1);
    const Affine above = {n_above, s->width, 1, n_above, weight, NULL};
    layer(&above, last ? residual : dvalues + s->tile, s->delta);
    for (int i = 0; i < s->tile; i += LANES) {
      const vec delta = load(s->delta + i);
      store(dvalues + i, delta * load(dvalues + i));
      if (w->n_numbers == 2) shape_sums[l] += delta * load(dshapes + i);
    }
  }
}

// Adds a strip's products of inputs and pre-activation gradients to the sums of every layer.
static void accumulate(const Work *w, Workspace *s, int t, int tiles) {
  const int step = s->depth * s->tile;
  vec *sums = s->layer_sums;
  for (int l = 0; l < s->depth; l++) {
    const Rows deltas = {s->width, step, layer_tile(s, s->dvalues, t, l)};
    Rows below = {s->width, step, layer_tile(s, s->values, t, l) - s->tile};
    if (l == 0)
      below = (Rows){s->inputs, s->inputs * TILE, w->encoded + (int64_t)t * s->inputs * TILE};
    outer(tiles, &below, &deltas, 0, sums);
    sums += inputs_of(s, l) * s->width;
    float *bias = s->grads + offset_of(w, s, l) + inputs_of(s, l) * s->width;
    for (int o = 0; o < s->width; o++) {
      vec total = {0};
      for (int k = 0; k < tiles; k++)
        for (int p = 0; p < TILE; p += LANES) total += load(deltas.first + k * step + o * TILE + p);
      bias[o] += sum(total);
    }
  }
  if (w->solved) return;
  const Rows features = {s->width, step, layer_tile(s, s->values, t, s->depth - 1)};
  const Rows residuals = {s->channels, s->channels * TILE, s->residual};
  outer(tiles, &features, &residuals, 0, s->readout_sums);
  float *bias = s->grads + s->n_hidden + s->width * s->channels;
  for (int i = 0; i < tiles * s->channels * TILE; i += LANES)
    bias[i / TILE % s->channels] += sum(load(s->residual + i));
}

// Gradients of a layer's numbers from those of scaled weights, scaled biases and the shape.
static void unfold(const Work *w, Workspace *s, int l, float dshape) {
  const int from = offset_of(w, s, l), n = (inputs_of(s, l) + 1) * s->width;
  float *grads = s->grads + from, shape, dscale = 0.0f;
  const float *params = s->params + from, scale = layer_scale(w, s, l, &shape);
  for (int i = 0; i < n; i++) {
    dscale += grads[i] * params[i];
    grads[i] *= scale;
  }
  if (w->n_numbers == 2) {
    grads[n] = dscale - dshape * shape / params[n];
    grads[n + 1] = dshape / params[n];
  } else if (w->n_numbers) {
    grads[n] = -dscale * scale / params[n];
  }
}

// Mean squared error over pixels and channels; `grads` of half the sum of squares.
static float backward(const Work *w, Workspace *s, const float *targets) {
  vec squares = {0}, dfrequency = {0}, shape_sums[s->depth];
  memset(shape_sums, 0, sizeof shape_sums);
  memset(s->grads, 0, s->n_row * sizeof(float));
  memset(s->layer_sums, 0, (s->inputs + (s->depth - 1) * s->width) * s->width * sizeof(vec));
  if (!w->solved) memset(s->readout_sums, 0, s->width * s->channels * sizeof(vec));
  for (int t = 0; t < s->n_tiles; t += STRIP) {
    const int tiles = s->n_tiles - t < STRIP ? s->n_tiles - t : STRIP;
    for (int k = 0; k < tiles; k++) {
      float *residual = s->residual + k * s->channels * TILE;
      compute_tile(w, s, targets, t + k, residual, &squares, &dfrequency);
      backpropagate(w, s, t + k, residual, shape_sums);
    }
    accumulate(w, s, t, tiles);
  }
  const vec *sums = s->layer_sums;
  for (int l = 0; l < s->depth; l++) {
    float *grads = s->grads + offset_of(w, s, l);
    for (int i = 0; i < inputs_of(s, l) * s->width; i++) grads[i] = sum(*sums++);
    unfold(w, s, l, sum(shape_sums[l]));
  }
  if (!w->solved) {
    for (int i = 0; i < s->width * s->channels; i++)
      s->grads[s->n_hidden + i] = sum(s->readout_sums[i]);
    if (w->head == ScaledSineHead) s->grads[s->n_trained - 1] = sum(dfrequency);
  }
  return sum(squares) / (float)(w->n_pixels * w->channels);
}

// One step of an optimiser of Adam's family; Coefficients in ops.py explains the numbers.
static void update(int n, float *params, const float *grads, float *first, float *second,
                   const float *c, float factor) {
  const float l2 = c[0], decay = c[1], rest1 = c[2], beta2 = c[3], rest2 = c[4];
  const float by_first = c[5], by_grad = c[6], eps = c[7], divides = c[8];
  for (int i = 0; i < n; i++) {
    const float g = factor * grads[i] + l2 * params[i];
    const float m = first[i] + rest1 * (g - first[i]);
    const float v = beta2 * second[i] + rest2 * g * g;
    const float root = divides != 0.0f ? sqrtf(v) + eps : 1.0f;
    first[i] = m;
    second[i] = v;
    params[i] = decay * params[i] - (by_first * m + by_grad * g) / root;
  }
}

// Layers with a basis, their rows being inputs and the bias; one after the last is a trained readout.
INLINE int n_matrices(const Work *w) { return (int)w->depth + (w->solved ? 0 : 1); }
INLINE int columns_of(const Workspace *s, int l) { return l < s->depth ? s->width : s->channels; }

// The same in the bases of SOAP. Gradients are turned into them, moves out of them.
static void update_in_bases(const Work *w, Workspace *s, float *first, float *second, float *bases,
                            const float *c, float factor) {
  for (int i = 0; i < s->n_trained; i++) s->grads[i] *= factor;
  memset(s->moves, 0, s->n_trained * sizeof(float));
  for (int back = 0; back < 2; back++) {
    float *state = bases;
    for (int l = 0; l < n_matrices(w); l++) {
      const int at = offset_of(w, s, l), rows = inputs_of(s, l) + 1, columns = columns_of(s, l);
      const Basis basis = basis_of(rows, columns, &state);
      if (!back) update_basis(s, rows, columns, c, &basis, s->grads + at, first + at);
      turn(s, rows, columns, &basis, back, (back ? s->moves : s->grads) + at);
    }
    if (!back) update(s->n_trained, s->moves, s->grads, first, second, c, 1.0f);
  }
  for (int i = 0; i < s->n_trained; i++) s->params[i] += s->moves[i];
}

// Floats of a block's bases and sums of products, for SOAP.
int64_t bases_floats(const Work *w) {
  Workspace s;
  float *end = NULL;
  lay_out(w, &s, NULL);
  for (int l = 0; l < n_matrices(w); l++) basis_of(inputs_of(&s, l) + 1, columns_of(&s, l), &end);
  return end - (float *)NULL;
}

static void train_block(const Work *w, Workspace *s, int64_t b) {
  const float *targets = w->targets + b * s->n_tiles * s->channels * TILE;
  const int64_t row = b * s->n_row;
  float *bases = w->bases ? w->bases + b * bases_floats(w) : NULL;
  for (int64_t step = 0; step < w->n_steps; step++) {
    forward(w, s);
    if (w->solved) solve(w, s, targets);
    const float mse = w->mse[b] = backward(w, s, targets);
    if (mse < w->best_mse[b]) {  // false for NaN: a diverged state is never kept
      w->best_mse[b] = mse;
      memcpy(w->best_rows + row, s->params, s->n_row * sizeof(float));
    }
    const float dloss = w->log_loss ? 1.0f / (mse + (float)w->floor) : 1.0f;
    const float factor = dloss * 2.0f / (float)(w->n_pixels * w->channels);
    const float *c = w->coefficients + step * N_COEFFICIENTS;
    float *first = w->first + row, *second = w->second + row;
    if (w->moves && bases) update_in_bases(w, s, first, second, bases, c, factor);
    else if (w->moves) update(s->n_trained, s->params, s->grads, first, second, c, factor);
  }
}

// Bytes of memory for a thread, or 0 for an activation that was not compiled.
int64_t workspace_bytes(const Work *w) {
  Workspace s;
  if (w->activation < 0 || w->activation >= N_ACTIVATIONS) return 0;
  return (int64_t)lay_out(w, &s, NULL) + 64;
}

// Trains or renders blocks until none is left. Every thread calls this, with separate memory.
void run(const Work *w, char *memory) {
  Workspace s;
  vec unused = {0};
  lay_out(w, &s, (char *)(((uintptr_t)memory + 63) & ~(uintptr_t)63));
  for (int p = 0; p < TILE; p++)
    ((float *)s.mask)[p] = (s.n_tiles - 1) * TILE + p < w->n_pixels ? 1.0f : 0.0f;
  for (;;) {
    const int64_t b = __atomic_fetch_add(w->next, 1, __ATOMIC_RELAXED);
    if (b >= w->n_blocks) return;
    s.params = w->trained + b * s.n_row;
    if (w->outputs) {
      float *outputs = w->outputs + b * s.n_tiles * s.channels * TILE;
      forward(w, &s);
      for (int t = 0; t < s.n_tiles; t++)
        compute_tile(w, &s, NULL, t, outputs + t * s.channels * TILE, &unused, &unused);
    } else if (w->training[b]) {
      train_block(w, &s, b);
    }
  }
}
