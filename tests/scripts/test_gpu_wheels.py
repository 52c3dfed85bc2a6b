"""Which wheels a machine lacks."""

import pytest
from gpu import wheels


def test_names_are_read_from_any_listing() -> None:
    listing = "torch==2.11.0\nPyYAML 6.0\n# a comment\n\nopencv_python_headless @ file:///x.whl\n"
    assert wheels.names_in(listing) == {"torch", "pyyaml", "opencv-python-headless"}


@pytest.mark.parametrize(
    ("dependencies", "there", "expected"),
    [
        (["hydra-core>=1.3"], {"packaging"}, "hydra-core omegaconf antlr4-python3-runtime pyyaml"),
        (["hydra-core"], {"omegaconf", "packaging"}, "hydra-core antlr4-python3-runtime"),
        (["wandb>=0.30", "zarr"], set(), ""),  # fits do without them
        (["rich; python_version < '3.12'"], set(), ""),  # for another Python
    ],
)
def test_dependencies_are_followed_to_what_the_machine_has(
    dependencies: list[str], there: set[str], expected: str
) -> None:
    assert wheels.lacking(dependencies, there, "3.12") == expected.split()
