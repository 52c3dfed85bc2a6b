"""The one table of the activations that are compiled, in C and in Triton."""

from typing import NamedTuple

from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren


class ActivationOp(NamedTuple):
    """How C and Triton compute an activation of u = scale * z; a row's place is its number.

    The scale is that of the class if nothing is trained, and that for 1 divided by the trained
    number if there is one. Of two, the first is the scale, and the second over it the `shape`.
    `activate` in triton/math.py has a branch with the name of the class.
    """

    of: type[Activation]  # exactly this class
    c: str  # sets `value`, `dvalue` and, of two trained numbers, `dshape` from `u` and `shape`
    zero_at_zero: bool = False  # else Triton masks the features that pad a row
    tf32_gradients: bool = False  # products of 10 bits do; Gaussians lose 0.08 dB (rounding.tsv)


_SINE = "sine_cosine(u, &value, &dvalue);"
_RELU = """
    value = select(u <= 0.0f, all(0.0f), u);  /* a NaN stays one */
    dvalue = select(u <= 0.0f, all(0.0f), all(1.0f));
"""
_GABOR = """
    vec sine, cosine;
    sine_cosine(u, &sine, &cosine);
    const vec envelope = exponential(-(shape * u) * (shape * u));
    value = cosine * envelope;
    dvalue = -sine * envelope - 2.0f * shape * shape * u * value;
    dshape = -2.0f * shape * u * u * value;
"""
_FINER = """
    sine_cosine((absolute(u) + 1.0f) * u, &value, &dvalue);
    dvalue *= 2.0f * absolute(u) + 1.0f;
"""
ACTIVATIONS: tuple[ActivationOp, ...] = (
    ActivationOp(Gaussian, "value = exponential(-(u * u)); dvalue = -2.0f * u * value;"),
    ActivationOp(Sine, _SINE, zero_at_zero=True, tf32_gradients=True),
    ActivationOp(Siren, _SINE, zero_at_zero=True, tf32_gradients=True),
    ActivationOp(ReLU, _RELU, zero_at_zero=True),
    ActivationOp(Gabor, _GABOR),
    ActivationOp(Finer, _FINER, zero_at_zero=True, tf32_gradients=True),
)
