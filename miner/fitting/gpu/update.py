"""A step of the optimiser over a row of numbers in Triton."""

import triton
import triton.language as tl


@triton.jit
def update(row, first, second, grads, factor, rule, TRAINED: tl.constexpr, PART: tl.constexpr):
    """One step of an optimiser of Adam's family; fused/rules.py says what a rule holds."""
    l2 = tl.load(rule)
    keep = tl.load(rule + 1)
    rest1 = tl.load(rule + 2)
    beta2 = tl.load(rule + 3)
    rest2 = tl.load(rule + 4)
    by_first = tl.load(rule + 5)
    by_grad = tl.load(rule + 6)
    eps = tl.load(rule + 7)
    divides = tl.load(rule + 8)
    for part in range(TRAINED // PART):
        at = part * PART + tl.arange(0, PART)
        p = tl.load(row + at)
        m = tl.load(first + at)
        g = factor * tl.load(grads + at) + l2 * p
        m = m + rest1 * (g - m)
        v = beta2 * tl.load(second + at) + rest2 * g * g
        root = tl.where(divides != 0.0, tl.sqrt(v) + eps, 1.0)
        root = tl.where(root == 0.0, 1.0, root)  # beyond the true sides
        tl.store(row + at, keep * p - (by_first * m + by_grad * g) / root)
        tl.store(first + at, m)
        tl.store(second + at, v)


@triton.jit
def copy(source, goal, LENGTH: tl.constexpr, PART: tl.constexpr):
    """Copy a row."""
    for part in range(LENGTH // PART):
        at = part * PART + tl.arange(0, PART)
        tl.store(goal + at, tl.load(source + at))
