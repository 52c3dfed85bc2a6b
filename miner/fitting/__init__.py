"""Fit block networks: steps, readout, pruning, levels. Knows tensors, not Lightning or Hydra."""
