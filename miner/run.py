"""`python -m miner.run`: fit an image and leave a folder with everything about the fit.

The heavy imports wait until a run is certain, so that refusals are printed at once.
"""

import logging
import os
import shlex
import signal
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from miner.cli.arguments import as_launched, expand_arguments, resume_arguments, write_images
from miner.cli.checks import exit_on_error
from miner.cli.help import help_text
from miner.config.build import CONF_FOLDER
from miner.config.job import current_job, detect_rank
from miner.support.lightning import import_lightning
from miner.support.process import prepare, say

_LOG = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path=str(CONF_FOLDER), config_name="config")
def _task(config: DictConfig) -> float | None:
    import_lightning()
    from miner.engine.train import run_alone, run_in_sweep
    from miner.support.errors import UserError

    if HydraConfig.get().job.chdir:  # relative names are those of where the command was given
        os.chdir(HydraConfig.get().runtime.cwd)
    job = current_job(config)
    config.paths.output_dir = str(job.folder)
    if config.extras.get("print_config") and job.sweep is None and job.rank.is_first:
        say(OmegaConf.to_yaml(config, resolve=True))
    if job.sweep is not None:
        return run_in_sweep(config, job)
    try:
        run_alone(config, job)
    except UserError as error:
        for line in str(error).splitlines():
            _LOG.error("%s", line)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        folder = shlex.quote(str(job.folder))
        _LOG.warning("stopped; to go on: python -m miner.run resume=%s", folder)
        raise SystemExit(128 + signal.SIGINT) from None
    return None


def _stop_at_signals() -> None:
    """Let the signals of a batch system and of a lost terminal stop a run once, as Ctrl-C does."""
    pending, terminals = [KeyboardInterrupt], [fd for fd in (1, 2) if os.isatty(fd)]

    def stop(number: int, frame: object) -> None:
        for fd in terminals:
            if not os.isatty(fd):  # it is lost: to write there is an error
                os.dup2(os.open(os.devnull, os.O_WRONLY), fd)
        if pending:  # further ones come while the run ends
            raise pending.pop()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, stop)


def main() -> None:
    """Run the command with the arguments of this process."""
    prepare()
    _stop_at_signals()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises what it refuses, and prints nothing itself
    logging.raiseExceptions = False  # a log file on a full disk is no reason to say so many times
    flags = {one for one in sys.argv[1:] if one.startswith("-")}
    try:
        if flags <= {"-m", "--multirun"} and sys.stdout.isatty() and detect_rank().is_first:
            print("starting", end="\r", flush=True)  # what comes next is written over it
        if flags & {"-h", "--help"}:
            named = (one.partition("=") for one in sys.argv[1:])
            print(help_text([Path(path) for flag, _, path in named if flag == "--config-dir"]))
            return
        with exit_on_error():
            arguments = resume_arguments(as_launched(expand_arguments(sys.argv[1:])))
            sys.argv[1:] = write_images(arguments)
            _task()
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
    except BrokenPipeError:  # as in `--help | head`; what is still unwritten goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
