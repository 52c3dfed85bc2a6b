"""Products on tensor cores, which take the first 10 bits of a number, in Triton."""

import triton
import triton.language as tl


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
def rough_product(a, b, acc):
    """acc + a b of the first 10 bits: for gradients, whose noise the optimiser averages away."""
    return tl.dot(a, b, acc=acc, input_precision="tf32")
