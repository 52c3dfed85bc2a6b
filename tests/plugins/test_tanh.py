"""A run with an activation from elsewhere takes its steps in plain PyTorch, and says so."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "commands"))

from runs import TINY, run_main, same, save_picture

CONF = Path(__file__).with_name("conf")


def test_an_activation_that_is_not_compiled_is_fitted_as_by_the_eager_backend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_picture(tmp_path / "picture.png")
    options = (f"--config-dir={CONF}", "activation=tanh", "image.path=picture.png", *TINY)
    said = {}
    for backend in ("compiled", "eager"):
        assert run_main(tmp_path, *options, f"backend={backend}", f"hydra.run.dir={backend}") == 0
        said[backend] = "".join(capsys.readouterr())
    line = "backend=compiled: activation Tanh is not compiled; plain PyTorch takes over"
    assert line in said["compiled"]
    assert line not in said["eager"]
    assert same(tmp_path / "compiled", tmp_path / "eager")
