"""What a fresh clone relies on: pinned versions, a self-listing Makefile, a valid citation."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = [
    Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


@pytest.fixture(scope="module")
def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_every_constraint_is_one_exact_version(constraints: dict[str, Requirement]) -> None:
    inexact = [
        str(pin)
        for pin in constraints.values()
        if not re.fullmatch(r"==[^*,]+", str(pin.specifier))
    ]
    assert inexact == []


def test_torch_pin_admits_cpu_and_cuda_builds(constraints: dict[str, Requirement]) -> None:
    assert "+" not in str(constraints["torch"].specifier)


@pytest.mark.parametrize("dependency", DEPENDENCIES, ids=lambda dependency: dependency.name)
def test_dependency_is_pinned_above_its_floor(
    dependency: Requirement, constraints: dict[str, Requirement]
) -> None:
    (pin,) = constraints[canonicalize_name(dependency.name)].specifier
    assert dependency.specifier.contains(pin.version)


def test_make_alone_lists_every_target() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    listing = subprocess.run(
        ["make"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert re.findall(r"^  make (\S+)", listing, re.MULTILINE) == phony.split()


def test_citation_is_complete() -> None:
    required = {"cff-version", "message", "title", "authors"}
    assert required <= CITATION.keys()
    assert {"type", "title", "authors"} <= CITATION["preferred-citation"].keys()


def test_citation_and_package_agree() -> None:
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
