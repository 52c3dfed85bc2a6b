"""Geometry and components as plain data and back."""

import json
from dataclasses import dataclass, replace

import pytest
from products import make_spec

from miner.models.activations import Activation, Finer, Gabor, Gaussian, ReLU, Sine, Siren
from miner.models.encodings import CosineEncoding, Encoding, NoEncoding, PositionalEncoding
from miner.models.heads import Head, LinearHead, ScaledSineHead, SigmoidHead
from miner.models.network import BlockMLP, BlockNetwork
from miner.pyramids.pyramid import GaussianPyramid, LaplacianPyramid, Pyramid
from miner.representation import Spec
from miner.representation.components import build, describe
from miner.representation.storage import Float16Storage, Float32Storage, Int8Storage, Storage

COMPONENTS: list[tuple[type, object]] = [
    *((Activation, a) for a in (Gaussian(0.3), Sine(), Siren(7.0), ReLU(), Gabor(), Finer())),
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

    assert build(Encoding, describe(Mine())) == Mine()


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (3, "3: a Encoding is described by a _target_"),
        ({}, "described by a _target_"),
        ({"_target_": "os.system"}, "import os first if you trust it"),
        ({"_target_": "miner.models.encodings.Encoding"}, "no Encoding of that name"),
        ({"_target_": "miner.models.encodings.NoEncoding", "x": 1}, "has no field x"),
    ],
)
def test_a_wrong_description_is_refused(description: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(Encoding, description)  # type: ignore[type-abstract]


@pytest.mark.parametrize("sides", [(13, 9), (5, 9, 6)])
def test_a_spec_survives_json(sides: tuple[int, ...]) -> None:
    model = BlockNetwork(
        BlockMLP(PositionalEncoding(2), Gabor(3.0), 7, 1, len(sides)), ScaledSineHead(), 2
    )
    spec = replace(make_spec(sides, n_levels=1), models=(model,))
    assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
