"""What `activate` of miner/kernels/triton/math.py gets for `Cauchy`: a branch of its name."""

import triton
import triton.language as tl


@triton.jit
def activate(u, shape, S):
    dshape = u
    if S.activation == "Cauchy":
        value = 1.0 / (1.0 + u * u)
        dvalue = -2.0 * u * value * value
    else:
        tl.static_assert(False, "an activation without a branch")
    return value, dvalue, dshape
