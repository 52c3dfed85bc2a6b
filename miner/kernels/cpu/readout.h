// The output layer, solved for at every step or trained: miner/fitting/readout.py, models/heads.py.
#pragma once

#include "vectors.h"

enum { LINEAR, SIGMOID, SCALED_SINE };

// Upper Cholesky factor of gram + penalty, of which the upper triangle is read; 0 if there is none.
static int factorise(int n, double (*factor)[n], double (*gram)[n], double penalty) {
  for (int i = 0; i < n; i++)
    for (int j = i; j < n; j++) factor[i][j] = gram[i][j] + (i == j ? penalty : 0.0);
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
  return 1;
}

// Solves R'R x = moment with R the factor; 0 if the answer is not finite.
static int substitute(int n, int channels, double (*factor)[n], double (*moment)[channels],
                      double (*x)[channels]) {
  double check = 0.0;
  for (int c = 0; c < channels; c++) {
    for (int i = 0; i < n; i++) x[i][c] = moment[i][c];
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

// Ridge solution from centred sums and the means of features and targets. If a factorisation fails
// it is repeated with a larger penalty; if all do, weights are zero. `factor` and `x` are scratch.
static void solve_readout(int n, int channels, double (*gram)[n], double (*moment)[channels],
                          const double *mean, double ridge, double (*factor)[n],
                          double (*x)[channels], float *weight, float *bias) {
  static const double factors[4] = {1.0, 1e2, 1e4, 1e6};
  double diagonal = 0.0;
  for (int i = 0; i < n; i++) diagonal += gram[i][i];
  const double penalty = ridge * fmax(diagonal / n, 1e-12);
  int solved = 0;
  for (int attempt = 0; attempt < 4 && !solved; attempt++)
    solved = factorise(n, factor, gram, penalty * factors[attempt]) &&
             substitute(n, channels, factor, moment, x);
  if (!solved) memset(x, 0, n * sizeof *x);
  for (int c = 0; c < channels; c++) {
    double b = mean[n + c];
    for (int i = 0; i < n; i++) {
      b -= mean[i] * x[i][c];
      weight[i * channels + c] = (float)x[i][c];
    }
    bias[c] = (float)(isfinite(b) ? b : mean[n + c]);
  }
}

// Output of the head for z, and its derivatives with respect to z and the frequency.
INLINE vec respond(int64_t head, vec z, float amplitude, float frequency, vec *dvalue,
                   vec *dfrequency) {
  vec y, sine, cosine;
  switch (head) {
    case SIGMOID:
      y = 1.0f / (1.0f + exponential(-z));
      *dvalue = y * (1.0f - y);
      return y;
    case SCALED_SINE:
      sine_cosine(frequency * z, &sine, &cosine);
      *dvalue = amplitude * frequency * cosine;
      *dfrequency = amplitude * z * cosine;
      return amplitude * sine;
    default: *dvalue = all(1.0f); return z;
  }
}
