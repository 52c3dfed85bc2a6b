"""The training steps as Triton programs for CUDA devices."""
