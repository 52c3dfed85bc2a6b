"""Products on tensor cores, which take the first 10 bits of a number, in Triton."""

import triton
import triton.language as tl

from miner.fitting.gpu.activations import FINER, SINE, SIREN


@triton.jit
def split(x):
    """A number as the sum of its first 10 bits and the rest, which 10 bits hold nearly."""
    first = (x.to(tl.int32, bitcast=True) & -8192).to(tl.float32, bitcast=True)
    return first, x - first


@triton.jit
def product(a, b, acc):
    """acc + a b as float32 gives it but for some 2^-21: three products of parts.

    Ootomo and Yokota 2022 (arXiv 2203.03341). A NaN stays one; an infinite number becomes one.
    """
    a_first, a_rest = split(a)
    b_first, b_rest = split(b)
    acc = tl.dot(a_rest, b_first, acc=acc, input_precision="tf32")
    acc = tl.dot(a_first, b_rest, acc=acc, input_precision="tf32")
    return tl.dot(a_first, b_first, acc=acc, input_precision="tf32")


@triton.jit
def rounded(x):
    """To the nearest number of 10 bits: tensor cores would cut, which has a bias."""
    bits = x.to(tl.int32, bitcast=True)
    return ((bits + 4096) & -8192).to(tl.float32, bitcast=True)


@triton.jit
def gradient_product(a, b, acc, ACTIVATION: tl.constexpr):
    """acc + a b for gradients: with sines the first 10 bits will do, with others they do not.

    results/rounding.tsv: Gaussians would lose 0.08 dB, as their features are much alike.
    """
    if ACTIVATION == SINE or ACTIVATION == SIREN or ACTIVATION == FINER:
        result = tl.dot(rounded(a), rounded(b), acc=acc, input_precision="tf32")
    else:
        result = product(a, b, acc)
    return result
