"""Collect the wheels that a machine without a network lacks to run fits and scripts/gpu/bench.py.

python scripts/gpu/wheels.py THERE [--python 3.12] [--folder wheels]

THERE is what `pip list --format=freeze` prints on that machine. Versions are those of
constraints.txt; see docs/how-to/gpu.md.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Set
from importlib.metadata import requires
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rows import ROOT

LEFT_OUT = {  # package: what does without it
    "hydra-joblib-launcher": "only sweeps with hydra/launcher=joblib need it",
    **dict.fromkeys(("itables", "plotly"), "only python -m miner.compare needs it"),
    "openexr": "only OpenEXR files need it",
    "wandb": "only logger=wandb needs it",
    "zarr": "only Zarr arrays need it",
    "ziglang": "the system's C compiler does as well, and a GPU needs none",
}
PLATFORMS = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28))]


def main() -> None:
    """Download, build what has no wheel, and say how much it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("there", type=Path, help="list of the packages that the machine has")
    parser.add_argument("--python", default="3.12", help="the machine's Python")
    parser.add_argument("--folder", type=Path, default=ROOT / "wheels")
    arguments = parser.parse_args()
    there = names_in(arguments.there.read_text())
    if not there:
        parser.error(f"{arguments.there}: names no package; give what `pip list` says there")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = lacking(project["dependencies"], there, arguments.python)
    shutil.rmtree(arguments.folder, ignore_errors=True)  # two versions would stop an installation
    arguments.folder.mkdir(parents=True)
    for name in wanted:
        fetch(name, arguments.folder, arguments.python)
    sizes = [wheel.stat().st_size for wheel in arguments.folder.glob("*.whl")]
    print(f"{len(sizes)} wheels, {sum(sizes) / 2**20:.2f} MiB, in {arguments.folder}")
    for name in sorted(LEFT_OUT.keys() - there):
        print(f"left out: {name}, {LEFT_OUT[name]}")


def names_in(listing: str) -> set[str]:
    """Canonical names of the packages in a list, one a line, whatever follows the name."""
    starts = (re.match(r"[A-Za-z0-9][\w.-]*", line.strip()) for line in listing.splitlines())
    return {canonicalize_name(start.group()) for start in starts if start}


def lacking(dependencies: Iterable[str], there: Set[str], python: str) -> list[str]:
    """Names that the dependencies need, directly or not, and the machine does not have.

    The packages of this script's environment say what needs what.
    """
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    found: list[str] = []
    open_ends = list(dependencies)
    while open_ends:
        requirement = Requirement(open_ends.pop(0))
        name = canonicalize_name(requirement.name)
        is_needed = not requirement.marker or requirement.marker.evaluate(environment)
        if is_needed and name not in {*there, *found, *LEFT_OUT}:
            found.append(name)
            open_ends += requires(name) or []
    return found


def fetch(package: str, folder: Path, python: str) -> None:
    """Download a wheel for Linux on x86-64, or build it where only source is offered."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pins = ["--no-deps", "--constraint", str(ROOT / "constraints.txt")]
    platforms = [f"--platform={platform}_x86_64" for platform in PLATFORMS]
    binary = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
    download = [*pip, "download", *pins, *binary, *platforms, "-d", str(folder), package]
    if subprocess.run(download, capture_output=True, check=False).returncode != 0:
        build = [*pip, "wheel", *pins, "--use-pep517", "-w", str(folder), package]
        subprocess.run(build, check=True)
        (built,) = folder.glob(f"{package.replace('-', '_')}-*.whl")
        if not built.stem.endswith("-none-any"):
            raise SystemExit(f"{built.name}: was built for this machine only; name it as left out")


if __name__ == "__main__":
    main()
