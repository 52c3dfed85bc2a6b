"""Imports run downwards only, and heavy libraries stay in their packages; read from the syntax."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = [  # a module imports from its own package and from layers below
    {"support"},
    {"signals"},
    {"pyramids", "models", "images", "metrics", "visual", "comparison"},
    {"representation"},
    {"fitting"},
    {"kernels"},
    {"config"},
    {"loggers"},
    {"engine"},
    {"callbacks"},
    {"peers"},
    {"cli"},
    {"__main__", "api", "compare", "evaluate", "render", "run"},
]
ALLOWED = {  # library: where it may be imported
    "pytorch_lightning": ("api", "callbacks", "engine", "loggers", "peers", "support.lightning"),
    "lightning": (),
    "lightning_fabric": ("cli.checks", "engine"),
    "wandb": ("loggers",),
    "safetensors": ("peers.training", "representation", "signals.store"),
    "hydra": ("api", "cli", "config", "engine.train", "engine.trainer", "run"),
    "omegaconf": ("api", "cli", "config", "engine", "loggers", "peers.fit", "run"),
    "pydantic": ("config", "peers.fit", "support.components", "support.ranges"),
    "matplotlib": ("visual",),
    "torchmetrics": ("metrics.base",),  # whose SSIM, in float32 too coarse, is our twin in tests
    "pyvips": ("images", "peers.codecs"),
    "tifffile": ("images",),
    "skimage": ("images",),
    "OpenEXR": ("images",),
    "Imath": ("images",),
    "zarr": ("images",),
    "ctypes": ("kernels", "support.process"),
    "platformdirs": ("kernels",),
    "psutil": ("config", "peers"),
    "scipy": ("comparison", "peers.codecs"),
    "pandas": ("comparison",),
    "plotly": ("comparison",),
    "itables": ("comparison",),
    "jinja2": ("comparison",),
}
CORE = ("signals", "pyramids", "models", "representation", "fitting", "kernels")
MODULES = {
    ".".join(path.relative_to(ROOT / "miner").with_suffix("").parts): path
    for path in sorted((ROOT / "miner").rglob("*.py"))
    if path != ROOT / "miner" / "__init__.py"  # imports lazily what notebooks use
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


def is_within(module: str, places: tuple[str, ...] | set[str]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)


def layer(module: str) -> int:
    """The layer that names the module itself, else the one that names its package."""
    exact = [n for n, places in enumerate(LAYERS) if ".".join(module.split(".")[:2]) in places]
    return (exact or [n for n, places in enumerate(LAYERS) if is_within(module, places)])[0]


def is_upwards(module: str, target: str) -> bool:
    below = target.removeprefix("miner.")
    if layer(module) == layer(below):
        return module.split(".")[0] != below.split(".")[0]
    return layer(below) > layer(module)


def test_imports_run_downwards() -> None:
    own = [(m, name) for m in MODULES for name in imported(m) if name.startswith("miner.")]
    assert len(own) > 100
    assert [pair for pair in own if is_upwards(*pair)] == []


def test_libraries_stay_in_their_packages() -> None:
    found = [(module, library) for module in MODULES for library in libraries(module)]
    strays = [(m, lib) for m, lib in found if lib in ALLOWED and not is_within(m, ALLOWED[lib])]
    assert strays == []


def test_the_core_imports_torch_and_little_else() -> None:
    core = [module for module in MODULES if is_within(module, CORE)]
    assert len(core) > 20
    third_party = set().union(*map(libraries, core)) - sys.stdlib_module_names
    expected = {"miner", "numpy", "platformdirs", "safetensors", "torch", "triton"}
    assert third_party == expected


def test_every_module_has_its_layer() -> None:
    assert all(layer(module) >= 0 for module in MODULES)


def test_an_upward_import_would_be_seen() -> None:
    assert is_upwards("models.heads", "miner.representation.Spec")
    assert is_upwards("pyramids.pyramid", "miner.models.heads.Head")
    assert is_upwards("engine.module", "miner.run.main")
    assert is_upwards("fitting.steps", "miner.kernels.ops.Network")
    assert is_upwards("comparison.runs", "miner.engine.train.run_job")
    assert is_upwards("representation.spec", "miner.config.schema.RunConfig")
    assert not is_upwards("models.heads", "miner.models.network.Parameters")
    assert not is_upwards("config.schema", "miner.support.ranges.Ranges")
    assert not is_upwards("run", "miner.engine.train.run_job")
