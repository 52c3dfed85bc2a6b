"""Which wheels a machine lacks."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import pack_wheels


def test_names_are_read_from_any_listing() -> None:
    listing = "torch==2.11.0\nPyYAML 6.0\n# a comment\n\nopencv_python_headless @ file:///x.whl\n"
    assert pack_wheels.names_in(listing) == {"torch", "pyyaml", "opencv-python-headless"}


def test_needs_of_needs_are_lacking_until_something_is_there() -> None:
    found = pack_wheels.lacking(["hydra-core>=1.3"], {"packaging"}, "3.12")
    assert found == ["hydra-core", "omegaconf", "antlr4-python3-runtime", "pyyaml"]
    assert pack_wheels.lacking(["hydra-core"], {"omegaconf", "packaging"}, "3.12")[1:] == [
        "antlr4-python3-runtime"
    ]


def test_what_fits_do_without_is_left_out() -> None:
    assert pack_wheels.lacking(["wandb>=0.30", "zarr"], set(), "3.12") == []


def test_other_pythons_needs_are_not_ours() -> None:
    assert pack_wheels.lacking(["rich; python_version < '3.12'"], set(), "3.12") == []


def test_versions_are_those_of_the_constraints() -> None:
    assert pack_wheels.pinned(["pyyaml"], "# pins\nPyYAML==6.0.3\nrich==1\n") == {"pyyaml": "6.0.3"}


def test_name_without_a_version_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"rich: .* has no version"):
        pack_wheels.pinned(["rich"], "PyYAML==6.0.3\n")
