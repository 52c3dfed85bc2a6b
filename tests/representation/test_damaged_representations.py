"""A damaged representation renders, or is refused in one line."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_bytes import damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import MANIFEST, SHOWN, SMALL, edit_manifest, make_spec, random_representation

from miner.representation import Representation, load
from miner.support.errors import RepresentationError

MIXED = random_representation(make_spec((3, 6), n_levels=1))
VALUES = (
    *(0, 1, 2, 5, 64, 513, 2**20, 2**31, 2**63, 10**400, -1, 0.5, 1e300, math.nan, math.inf),
    *("", "..", "/etc/passwd", "a\0b", "x" * 5000, MANIFEST, "os.system", "float32"),
    *("miner.models.activations.Sine", None, True, "1", [], {}, [3, 4], {"x": 1}),
)
few_or_many = pytest.mark.parametrize(
    "n_examples", [100, pytest.param(1000, marks=pytest.mark.slow)]
)


@few_or_many
@pytest.mark.parametrize("name", [MANIFEST, SMALL.shards[0][0].file_name])
@pytest.mark.parametrize("shown", [SMALL, MIXED], ids=["one block", "two widths"])
def test_damaged_bytes_are_refused_or_harmless(
    shown: Representation, name: str, n_examples: int, tmp_path: Path
) -> None:
    path = shown.save(tmp_path) / name
    other = (SHOWN.save(tmp_path / "other") / name).read_bytes()
    rendered = shown.render()

    @settings(max_examples=n_examples)
    @given(damaged(path.read_bytes(), other))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            loaded = load(tmp_path)
        except RepresentationError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert np.array_equal(loaded.render(), rendered)

    check()


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every value."""
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield (*path, key)
            yield from places(tree[key], (*path, key))


@few_or_many
@pytest.mark.filterwarnings("ignore")  # of numbers that overflow
def test_other_values_in_a_manifest_are_refused_or_rendered(folder: Path, n_examples: int) -> None:
    sound = (folder / MANIFEST).read_text()

    @settings(max_examples=n_examples)
    @given(st.sampled_from(list(places(json.loads(sound)))), st.sampled_from(VALUES), st.booleans())
    def check(path: tuple[Any, ...], value: Any, removes: bool) -> None:
        def edit(content: dict[str, Any]) -> None:
            for key in path[:-1]:
                content = content[key]
            content[path[-1]] = value
            if removes:
                del content[path[-1]]

        (folder / MANIFEST).write_text(sound)
        edit_manifest(folder, edit)
        try:
            found = load(folder)
            for level, sides in enumerate(found.spec.level_sides):
                region = tuple((max(0, side - 12), side) for side in sides)
                shape = (found.spec.n_channels, *(end - begin for begin, end in region))
                assert found.render(level, region).shape == shape
        except RepresentationError as error:
            assert len(str(error).splitlines()) == 1

    check()
