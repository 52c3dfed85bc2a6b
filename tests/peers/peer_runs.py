"""Runs of other methods in this process, and refusals of them."""

import time
from pathlib import Path
from typing import Any

import pytest
from in_process import composed

from miner.cli.checks import check_settings
from miner.config.job import Job
from miner.engine.method import configured
from miner.engine.train import run_job
from miner.support.errors import ConfigError

RUN = ("trainer=cpu", "logger=none", "image=chelsea", "image.crop_px=24")
SMALL = ("method.parameters_per_pixel=20", "method.max_steps=3")  # of networks


def fit(folder: Path, *overrides: str) -> dict[str, Any]:
    folder.mkdir()
    given = [*RUN, *overrides]
    config = composed(*given, f"hydra.run.dir={folder}")
    return run_job(config, Job(folder, given, time.time(), {"method": "a"}))


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_settings(configured(composed(*RUN, *overrides)))
    return str(caught.value)
