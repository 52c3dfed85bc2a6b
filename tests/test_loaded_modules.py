"""What processes of their own have imported after a run, and that Lightning is whole after all."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = (
    *("image=camera", "image.crop_px=40", "patch_size=10", "fitting.max_steps=3"),
    *("trainer=cpu", "logger=csv"),
)
OWN = {  # packages that a run imports beside those of torch, Lightning and Hydra
    *("miner", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
    *("cv2", "pyvips", "_libvips", "_cffi_backend", "safetensors", "skimage", "lazy_loader"),
    *("filelock", "joblib", "cloudpickle", "platformdirs", "psutil"),
    *("hydra_plugins", "submitit", "optuna", "ray"),  # Hydra imports its plug-ins
}
TOO_SLOW = {
    *("torch._dynamo", "torch._inductor", "sympy", "triton", "torch.utils.flop_counter"),
    *("scipy.linalg", "scipy.signal", "scipy.stats", "matplotlib.pyplot", "skimage.io", "tifffile"),
    *("pandas", "plotly", "zarr", "OpenEXR", "tensorboard", "wandb"),
}
PRINT_MODULES = "import sys; print('modules', *sys.modules)"
WHOLE = """
import sys, torch
from miner.support.lightning import import_lightning
import_lightning()
import_lightning()
import lightning_fabric.wrappers, pytorch_lightning as pl, torchmetrics
assert "torch._dynamo" not in sys.modules
module = pl.LightningModule()
module.layer = torch.nn.Linear(2, 3)
assert not isinstance(module, lightning_fabric.wrappers.OptimizedModule)
assert "torch._dynamo" not in sys.modules
compiled = torch.compile(module, backend="eager")
assert pl.utilities.compile.from_compiled(compiled).layer is module.layer
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)) == 2
assert "9" in str(pl.utilities.model_summary.ModelSummary(module))
metric = torchmetrics.MeanMetric()
metric.update(3.0)
figure, axes = metric.plot()
assert type(figure).__module__ == "matplotlib.figure"
import scipy.signal
assert scipy.signal.windows.hann(3)[1] == 1
"""
SURPRISED = """
import matplotlib  # so that the stand-ins of its modules are no attributes
from miner.support.lightning import import_lightning
import_lightning()
import pytorch_lightning, lightning_fabric.wrappers, torch._dynamo, torchmetrics.utilities.plot
assert lightning_fabric.wrappers.OptimizedModule is torch._dynamo.OptimizedModule
assert torchmetrics.utilities.plot.plt is matplotlib.pyplot
"""
FIT = """
import os, sys
import miner, numpy
for _ in range(2):
    miner.fit(numpy.zeros((9, 9)), pyramid={"n_levels": 1}, fitting={"max_steps": 1})
print("waiting:", os.environ.get("OMP_WAIT_POLICY"))
print("modules", *sys.modules)
"""


def python(code: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[set[str], str]:
    """Modules that a program has printed, and what it said beside them."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, _, modules = done.stdout.partition("modules ")
    return set(modules.split()), said + done.stderr


def packages(modules: set[str]) -> set[str]:
    """Third-party packages, without parts of the environment that are found by chance."""
    tops = {module.partition(".")[0] for module in modules}
    return tops - sys.stdlib_module_names - {"__mp_main__", "_distutils_hack", "sitecustomize"}


def test_a_run_imports_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"from miner.run import main; main(); {PRINT_MODULES}"
    loaded, said = python(code, *RUN, f"hydra.run.dir={tmp_path}/run", monkeypatch=monkeypatch)
    assert "PSNR" in said
    assert loaded & TOO_SLOW == set()
    code = f"import torch, pytorch_lightning, hydra; {PRINT_MODULES}"
    bare, _ = python(code, monkeypatch=monkeypatch)
    assert packages(loaded) - packages(bare) <= OWN


@pytest.mark.slow
def test_lightning_finds_later_what_was_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    python(WHOLE, monkeypatch=monkeypatch)


@pytest.mark.slow
def test_lightning_is_imported_as_it_is_where_stand_ins_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python(SURPRISED, monkeypatch=monkeypatch)


def test_threads_of_a_notebook_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, said = python(FIT, monkeypatch=monkeypatch)
    assert said == "waiting: passive\n"
    assert loaded & TOO_SLOW == set()


@pytest.mark.slow
def test_threads_that_spin_are_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, said = python(f"import torch{FIT}", monkeypatch=monkeypatch)
    assert said.count("import miner first, or set OMP_WAIT_POLICY=passive") == 1
