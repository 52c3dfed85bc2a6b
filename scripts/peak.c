// The most multiply-adds that a core does: independent sums that all stay in registers.
#include <stdint.h>

#define LANES 16
#define SUMS 8

typedef float vec __attribute__((vector_size(4 * LANES)));

// Does rounds * SUMS * LANES multiply-adds; gives a number so that nothing is left out.
float multiply_add(int64_t rounds) {
  vec a = {0}, b = {1}, c = {2}, d = {3}, e = {4}, f = {5}, g = {6}, h = {7};
  const vec factor = {0}, by = factor + 0.999f, plus = factor + 1e-3f;
  for (int64_t k = 0; k < rounds; k++) {
    a = a * by + plus, b = b * by + plus, c = c * by + plus, d = d * by + plus;
    e = e * by + plus, f = f * by + plus, g = g * by + plus, h = h * by + plus;
  }
  const vec total = a + b + c + d + e + f + g + h;
  float sum = 0.0f;
  for (int i = 0; i < LANES; i++) sum += total[i];
  return sum;
}
