"""A network to compare with needs no more than a class and a YAML file."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "commands"))

from runs import read_report, run_main, save_picture

CONF = Path(__file__).with_name("conf")


def test_a_network_from_elsewhere_is_fitted(tmp_path: Path) -> None:
    save_picture(tmp_path / "picture.png")
    own = ("method=triangle", "method.max_steps=60", "image.path=picture.png", "logger=none")
    options = (f"--config-dir={CONF}", *own, "trainer=cpu", "hydra.run.dir=run")
    assert run_main(tmp_path, *options) == 0
    report = read_report(tmp_path / "run")
    assert report["n_parameters"] == 3 * report["network_size"] + 3 * (report["network_size"] + 1)
    assert report["psnr_db"] > report["curve"]["psnr_db"][0] + 6
