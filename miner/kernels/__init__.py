"""Compiled training steps: C for CPUs, Triton for CUDA devices."""
