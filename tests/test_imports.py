"""Imports run downwards only, and each heavy library stays in its room; read from the syntax."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
STOREYS = [  # a module imports from its own package and from storeys below
    {"mistakes"},
    {"files", "schema", "console", "machine", "regions", "scratch"},
    {"plan", "reports", "grid", "images", "pyramid", "models"},
    {"command_line", "identity", "jobs", "lock", "overview", "comparison", "representation"},
    {"fitting", "resuming"},
    {"evaluation"},
    {"config", "space"},
    {"validation", "training"},
    {"supervision"},
]
COMMANDS = len(STOREYS)  # every other module right inside `miner/`
_HYDRA = ("run", "api", "config", "grid", "jobs", "supervision", "training.session")
ROOMS = {  # library: where it may be imported
    "pytorch_lightning": ("training",),
    "lightning": (),
    "wandb": ("training.wandb_logger", "training.wandb_start", "training.wandb_summary"),
    "safetensors": ("representation",),
    "hydra": (*_HYDRA, "command_line"),
    "omegaconf": (
        *_HYDRA,
        "schema",
        "identity",
        "resuming",
        "validation",
        "training.job",
        "training.sweep_end",
    ),
    "pydantic": ("schema", "mistakes", "representation.components"),
    "matplotlib": ("evaluation",),
    "torchmetrics": (),  # too slow and, in float32, too coarse: the twin of our SSIM in tests
    "pyvips": ("images",),
    "tifffile": ("images",),
    "skimage": ("images",),
    "OpenEXR": ("images",),
    "Imath": ("images",),
    "zarr": ("images",),
    "ctypes": ("fitting.fused", "machine"),
    "platformdirs": ("fitting.fused",),
    "psutil": ("jobs",),
    "scipy": ("comparison",),
    "pandas": ("comparison",),
    "plotly": ("comparison",),
    "itables": ("comparison",),
    "jinja2": ("comparison",),
}
CORE = ("pyramid", "models", "representation", "fitting")
MODULES = {
    ".".join(path.relative_to(ROOT / "miner").with_suffix("").parts): path
    for path in sorted((ROOT / "miner").rglob("*.py"))
    if path != ROOT / "miner" / "__init__.py"  # offers the notebook's functions, when asked
}


def imported(module: str) -> Iterator[str]:
    """Full names of all that a module imports, wherever in its file."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def libraries(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported(module)}


def storey(package: str) -> int:
    return next((n for n, packages in enumerate(STOREYS) if package in packages), COMMANDS)


def is_upwards(module: str, target: str) -> bool:
    above, below = module.split(".")[0], target.split(".")[1]
    return above != below and storey(below) >= storey(above)


def is_within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def test_imports_run_downwards() -> None:
    own = [(m, name) for m in MODULES for name in imported(m) if name.startswith("miner.")]
    assert len(own) > 100
    assert [pair for pair in own if is_upwards(*pair)] == []


def test_libraries_stay_in_their_rooms() -> None:
    found = [(module, library) for module in MODULES for library in libraries(module)]
    strays = [(m, lib) for m, lib in found if lib in ROOMS and not is_within(m, ROOMS[lib])]
    assert strays == []


def test_the_core_imports_torch_and_little_else() -> None:
    core = [module for module in MODULES if is_within(module, CORE)]
    assert len(core) > 20
    third_party = set().union(*map(libraries, core)) - sys.stdlib_module_names
    expected = {"miner", "numpy", "platformdirs", "pydantic", "safetensors", "torch", "triton"}
    assert third_party == expected


def test_every_package_has_its_storey() -> None:
    packages = {path.name for path in (ROOT / "miner").iterdir() if (path / "__init__.py").exists()}
    assert packages <= set().union(*STOREYS)


def test_an_upward_import_would_be_seen() -> None:
    assert is_upwards("models.heads", "miner.representation.Spec")
    assert is_upwards("pyramid.grid", "miner.models.heads")
    assert is_upwards("training.module", "miner.run")
    assert not is_upwards("models.heads", "miner.models.parameters")
    assert is_upwards("comparison.results", "miner.training.session")
    assert not is_upwards("run", "miner.training.session")
    assert not is_upwards("supervision", "miner.training.sweep_end")
