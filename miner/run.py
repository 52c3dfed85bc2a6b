"""`python -m miner.run`: fit an image and leave a folder with everything about the fit.

The heavy imports wait until a run is certain, so that mistakes are answered at once.
"""

import logging
import sys
import time
from pathlib import Path
from typing import cast

import hydra
import psutil
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from miner.command_line import quote_paths
from miner.config import CONF_FOLDER
from miner.images import ImageError
from miner.machine import prepare
from miner.schema import ConfigError
from miner.validation import refuse_null_groups

_LOG = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="config")
def _task(config: DictConfig) -> None:
    from miner.training.session import Job, run_job

    running = HydraConfig.get()
    # In a sweep, jobs share this process.
    is_alone = running.mode == RunMode.RUN
    started = psutil.Process().create_time() if is_alone else time.time()
    overrides = cast(list[str], OmegaConf.to_container(running.overrides.task, resolve=False))
    job = Job(Path(running.runtime.output_dir), overrides, started)
    try:
        run_job(config, job)
    except (ConfigError, ImageError) as error:
        _LOG.error("%s", error)
        raise SystemExit(1) from None


def main() -> None:
    """Run the command with the arguments of this process."""
    prepare()
    refuse_null_groups(sys.argv[1:])
    sys.argv[1:] = quote_paths(sys.argv[1:])
    _task()


if __name__ == "__main__":
    main()
