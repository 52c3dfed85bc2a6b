"""Geometry and components as plain data and back, within bounds."""

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from block_problems import ACTIVATIONS
from samples import make_spec

from miner.models.activations import Activation, Gaussian, Siren
from miner.models.encodings import CosineEncoding, Encoding, NoEncoding, PositionalEncoding
from miner.models.heads import Head, LinearHead, ScaledSineHead, SigmoidHead
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage
from miner.support.components import build, describe

COMPONENTS: list[tuple[type, object]] = [
    *((Activation, a) for a in (*ACTIVATIONS, Gaussian(0.3), Siren(7.0))),
    *((Encoding, e) for e in (NoEncoding(), PositionalEncoding(3, 1.0), CosineEncoding(2))),
    *((Head, h) for h in (LinearHead(), SigmoidHead(), ScaledSineHead())),
    *((Pyramid, p) for p in (GaussianPyramid(4), LaplacianPyramid())),
    *((Storage, s) for s in (Float32Storage(), Float16Storage(), Int8Storage())),
]


@pytest.mark.parametrize(("base", "component"), COMPONENTS)
def test_components_survive_json(base: type, component: object) -> None:
    assert build(base, json.loads(json.dumps(describe(component)))) == component


def test_a_component_from_elsewhere_is_known_once_imported() -> None:
    @dataclass(frozen=True)
    class Mine(NoEncoding):
        """An encoding that somebody adds."""

    assert build(Encoding, describe(Mine())) == Mine()  # type: ignore[type-abstract]


@pytest.mark.parametrize("changes", [{"sides": (2**21, 2**20)}, {"patch_size": 4096}])
def test_pixels_are_counted_wherever_a_spec_is_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at most; crop it|use a smaller one"):
        replace(make_spec((13, 9)), **changes)
    for sides in ((2**20, 2**20), (1, 2**31), (4, 4, 2**31)):
        assert make_spec(sides).sides == sides  # the largest


def test_levels_halve_down_to_the_coarsest() -> None:
    spec = make_spec((9, 13, 6))
    assert spec.level_sides == ((9, 13, 6), (5, 7, 3), (3, 4, 2))
    assert [spec.is_coarsest(level) for level in range(3)] == [False, False, True]
