"""What a fresh clone relies on: pins, declared dependencies, the Makefile, a package that works."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from site import getsitepackages

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
INSTALLED_EXTRAS = ("dev", "docs", "optuna", "submitit", "workspace")  # by `make setup`
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
PINNED = [*RUNTIME, *(Requirement(line) for name in INSTALLED_EXTRAS for line in EXTRAS[name])]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
NOT_IMPORTED = {  # declared, and why no module imports it
    "hydra-joblib-launcher": "hydra/launcher=joblib names it",
    "pyvips-binary": "libvips, which pyvips loads",
    "tensorboard": "Lightning's logger imports it",
    "ziglang": "a C compiler, started as a process",
}
NOT_DECLARED = {
    "pillow-heif": "of the extra heif; without it HEIC is refused",
    "triton": "torch installs it where it is of use",
}


@pytest.fixture(scope="module")
def constraints() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in pins}


def test_every_constraint_is_one_exact_version(constraints: dict[str, Requirement]) -> None:
    versions = {name: str(pin.specifier) for name, pin in constraints.items()}
    assert [name for name, pin in versions.items() if not re.fullmatch(r"==[^*,]+", pin)] == []
    assert "+" not in versions["torch"]  # it admits CPU and CUDA builds


@pytest.mark.parametrize("dependency", PINNED, ids=lambda dependency: dependency.name)
def test_dependency_is_pinned_above_its_floor(
    dependency: Requirement, constraints: dict[str, Requirement]
) -> None:
    (pin,) = constraints[canonicalize_name(dependency.name)].specifier
    assert dependency.specifier.contains(pin.version)


def imported_distributions() -> set[str]:
    """The distributions of all that modules of miner/ import from outside."""
    names: set[str] = set()
    for path in (ROOT / "miner").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    outside = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"miner"}
    known = packages_distributions()
    return {canonicalize_name(found) for name in outside for found in known.get(name, [name])}


def test_what_is_imported_is_declared_with_a_floor_and_the_reverse() -> None:
    declared = {canonicalize_name(dependency.name) for dependency in RUNTIME}
    imported = imported_distributions()
    assert imported - declared == set(NOT_DECLARED)
    assert declared - imported == set(NOT_IMPORTED)
    assert [str(one) for one in RUNTIME if not re.fullmatch(r">=[\d.]+", str(one.specifier))] == []


def test_make_alone_lists_every_target() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    listing = subprocess.run(
        ["make"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert re.findall(r"^  make (\S+)", listing, re.MULTILINE) == phony.split()


def test_hosted_ci_and_hooks_run_what_the_makefile_knows() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    assert "make lint types test docs" in steps
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]  # nothing is downloaded


def test_citation_is_complete_and_agrees_with_the_package() -> None:
    assert {"cff-version", "message", "title", "authors"} <= CITATION.keys()
    assert {"type", "title", "authors"} <= CITATION["preferred-citation"].keys()
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is built from."""
    pytest.importorskip("hatchling")
    pytest.importorskip("editables")
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("miner", "conf"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tree)
    return tree


def build(tree: Path, out: Path, kind: str = "build_wheel") -> Path:
    """Build a wheel, or with `build_editable` one that points to the tree."""
    program = f"from hatchling.build import {kind}; print({kind}({str(out)!r}))"
    command = [sys.executable, "-c", program]
    built = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True)
    return out / built.stdout.split()[-1]


def test_the_wheel_holds_the_package_and_its_configuration(tree: Path, tmp_path: Path) -> None:
    names = zipfile.ZipFile(build(tree, tmp_path)).namelist()
    files = [path.relative_to(tree) for path in tree.rglob("*") if path.is_file()]
    expected = {path.as_posix() for path in files if path.parts[0] == "miner"}
    expected |= {f"miner/{path.as_posix()}" for path in files if path.parts[0] == "conf"}
    assert {name for name in names if ".dist-info/" not in name} == expected


def install(wheel: Path, folder: Path) -> Path:
    """A fresh environment with the wheel and this environment's packages; gives its programs."""
    venv.create(folder, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    pip += ["--python", str(programs / "python"), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    (packages / "borrowed.pth").write_text("\n".join(getsitepackages()) + "\n")
    return programs


def call(folder: Path, *command: object) -> str:
    """What a command prints that is run in a folder, with no hint where the repository is."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fit_twice(programs: Path, folder: Path) -> str:
    """Fit by the command and in Python, from another folder; gives where the package is."""
    tiny = ("image=camera", "image.crop_px=48", "fitting.max_steps=5", "logger=none")
    call(folder, programs / "miner-run", *tiny, "hydra.run.dir=run")
    report = json.loads((folder / "run" / "report.json").read_text())
    assert report["width_px"] == 48
    program = (
        "import miner, numpy\n"
        "values = numpy.random.default_rng(0).random((1, 20, 30), dtype=numpy.float32)\n"
        "shown = miner.fit(values, patch_size=8, fitting={'max_steps': 3})\n"
        "assert shown.render().shape == values.shape\n"
        "print(miner.__file__)\n"
    )
    return call(folder, programs / "python", "-c", program).strip()


@pytest.mark.slow
def test_an_installed_package_works_in_another_folder(tree: Path, tmp_path: Path) -> None:
    programs = install(build(tree, tmp_path), tmp_path / "venv")
    (tmp_path / "elsewhere").mkdir()
    assert Path(fit_twice(programs, tmp_path / "elsewhere")).is_relative_to(tmp_path / "venv")


@pytest.mark.slow
def test_an_editable_install_reads_the_repository(tree: Path, tmp_path: Path) -> None:
    programs = install(build(tree, tmp_path, "build_editable"), tmp_path / "venv")
    (tmp_path / "elsewhere").mkdir()
    assert Path(fit_twice(programs, tmp_path / "elsewhere")).is_relative_to(tree)
    settings = tree / "conf" / "config.yaml"
    settings.write_text(settings.read_text().replace("patch_size: 32", "patch_size: 27"))
    composed = call(tmp_path / "elsewhere", programs / "miner-run", "--cfg", "job")
    assert yaml.safe_load(composed)["patch_size"] == 27
