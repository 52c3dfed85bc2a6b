// The most multiply-adds that a core does: independent sums that all stay in registers.
#include "../miner/fitting/fused/vectors.h"

// Twice `rounds` * 12 * LANES operations; gives a number so that nothing is left out.
float multiply_add(int64_t rounds) {
  vec sums[12];
  for (int i = 0; i < 12; i++) sums[i] = all(1e-3f * i);
  for (int64_t k = 0; k < rounds; k++) {
    UNROLL
    for (int i = 0; i < 12; i++) sums[i] = sums[i] * 0.999f + 1e-3f;
  }
  float total = 0.0f;
  for (int i = 0; i < 12; i++) total += sum(sums[i]);
  return total;
}

int64_t lanes(void) { return LANES; }
