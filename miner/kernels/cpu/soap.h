// A step of SOAP as defined in miner/fitting/soap.py: Adam in rotated coordinates of every layer's
// weights and biases, a matrix of (inputs + 1) x width. Rows of matrices are padded to whole vectors.
#pragma once

#include "layout.h"

#define LEAST_TRACE 1e-30   // products of smaller gradients have no digits
#define PRODUCT_ROWS 4      // rows of a product that are summed at once
#define SHIFT 1e-6          // of the mean diagonal: keeps products of the iteration of full rank

typedef struct {
  float *left, *right;              // decayed sums of G G^T and G^T G
  float *left_basis, *right_basis;  // their eigenvectors, as rows
} Basis;

// The matrices of a layer in a block's state; the next layer's follow.
INLINE Basis basis_of(int rows, int columns, float **state) {
  const int left = rows * padded(rows), right = columns * padded(columns);
  const Basis basis = {*state, *state + 2 * left, *state + left, *state + 2 * left + right};
  *state += 2 * (left + right);
  return basis;
}

// out = A B for A(i, k) = a[i * row + k * column]; B and `out` have `n` columns, padded.
static void multiply(int m, int inner, int n, const float *a, int row, int column, const float *b,
                     float *out) {
  for (int i = 0; i < m; i += PRODUCT_ROWS)
    for (int v = 0; v < n; v += LANES) {
      vec sums[PRODUCT_ROWS] = {0};
      const float *from[PRODUCT_ROWS];
      EACH(r, PRODUCT_ROWS) from[r] = a + (i + r < m ? i + r : m - 1) * row;
      for (int k = 0; k < inner; k++) {
        const vec x = load(b + k * padded(n) + v);
        EACH(r, PRODUCT_ROWS) sums[r] += from[r][k * column] * x;
      }
      for (int r = 0; r < PRODUCT_ROWS && i + r < m; r++)
        store(out + (i + r) * padded(n) + v, sums[r]);
    }
}

static void transpose(int m, int n, const float *in, float *out) {
  memset(out, 0, n * padded(m) * sizeof(float));
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) out[j * padded(m) + i] = in[i * padded(n) + j];
}

static void identity(int n, float *matrix) {
  memset(matrix, 0, n * padded(n) * sizeof(float));
  for (int i = 0; i < n; i++) matrix[i * padded(n) + i] = 1.0f;
}

// sums += rest (product - sums), for square matrices of `n` rows.
static void blend(int n, float rest, const float *product, float *sums) {
  for (int i = 0; i < n * padded(n); i += LANES)
    store(sums + i, load(sums + i) + rest * (load(product + i) - load(sums + i)));
}

// One orthogonal iteration towards the eigenvectors of a symmetric matrix, by Gram-Schmidt twice.
static void iterate(int n, const float *matrix, float *basis, float *scratch) {
  const int stride = padded(n);
  double trace = 0.0;
  for (int i = 0; i < n; i++) trace += matrix[i * stride + i];
  if (!(trace > LEAST_TRACE)) return;
  multiply(n, n, n, basis, stride, 1, matrix, scratch);
  for (int i = 0; i < n; i++) {
    float *row = basis + i * stride;
    const float *turned = scratch + i * stride, scale = (float)(n / trace);
    for (int v = 0; v < stride; v += LANES)
      store(row + v, load(turned + v) * scale + (float)SHIFT * load(row + v));
    for (int pass = 0; pass < 2; pass++) {
      for (int j = 0; j < i; j++) {
        const float *other = basis + j * stride;
        vec dot = {0};
        for (int v = 0; v < stride; v += LANES) dot += load(row + v) * load(other + v);
        const float part = sum(dot);
        for (int v = 0; v < stride; v += LANES)
          store(row + v, load(row + v) - part * load(other + v));
      }
      vec square = {0};
      for (int v = 0; v < stride; v += LANES) square += load(row + v) * load(row + v);
      const float inverse = 1.0f / sqrtf(sum(square));
      for (int v = 0; v < stride; v += LANES) store(row + v, load(row + v) * inverse);
    }
  }
}

// P A Q^T, or P^T A Q with `back`, for the bases' rows P and Q. `scratch` has space for two.
static void rotate(int rows, int columns, const Basis *basis, int back, const float *in,
                   float *scratch, float *out) {
  const int side = padded(rows);
  float *turned = scratch + rows * padded(columns);
  multiply(rows, rows, columns, basis->left_basis, back ? 1 : side, back ? side : 1, in, scratch);
  if (!back) transpose(columns, columns, basis->right_basis, turned);
  multiply(rows, columns, columns, scratch, padded(columns), 1,
           back ? basis->right_basis : turned, out);
}

// Rows of `columns` floats from one distance to another.
static void copy_rows(int rows, int columns, const float *in, int from, float *out, int to) {
  for (int i = 0; i < rows; i++) memcpy(out + i * to, in + i * from, columns * sizeof(float));
}

static void pad(int rows, int columns, const float *in, float *out) {
  memset(out, 0, rows * padded(columns) * sizeof(float));
  copy_rows(rows, columns, in, columns, out, padded(columns));
}

// The bases follow the sums of products of a layer's gradients `grads`; moments turn with them.
static void update_basis(const Workspace *s, int rows, int columns, const float *c,
                         const Basis *basis, const float *grads, float *first) {
  const int n = s->soap_matrix, iterations = (int)c[10];
  const float rest = c[9];
  float *g = s->soap, *turned = g + n, *product = g + 2 * n, *scratch = g + 3 * n;
  pad(rows, columns, grads, g);
  transpose(rows, columns, g, turned);
  multiply(rows, columns, rows, g, padded(columns), 1, turned, product);
  blend(rows, rest, product, basis->left);
  multiply(columns, rows, columns, g, 1, padded(columns), g, product);
  blend(columns, rest, product, basis->right);
  if (iterations == 0) return;
  if (iterations > 1) {  // a start
    identity(rows, basis->left_basis);
    identity(columns, basis->right_basis);
  }
  pad(rows, columns, first, turned);
  rotate(rows, columns, basis, 1, turned, scratch, product);
  for (int i = 0; i < iterations; i++) {
    iterate(rows, basis->left, basis->left_basis, scratch);
    iterate(columns, basis->right, basis->right_basis, scratch);
  }
  rotate(rows, columns, basis, 0, product, scratch, turned);
  copy_rows(rows, columns, turned, padded(columns), first, columns);
}

// Replaces gradients by those in the layer's basis, or changes of parameters by those outside it.
static void turn(const Workspace *s, int rows, int columns, const Basis *basis, int back,
                 float *values) {
  const int n = s->soap_matrix;
  pad(rows, columns, values, s->soap);
  rotate(rows, columns, basis, back, s->soap, s->soap + 3 * n, s->soap + n);
  copy_rows(rows, columns, s->soap + n, padded(columns), values, columns);
}
