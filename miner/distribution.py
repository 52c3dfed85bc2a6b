"""Whether the processes that a run asks for can be, and whether they are one run."""

import logging
import os

from miner.config import device_type
from miner.place import Place
from miner.schema import ConfigError, RunConfig

_BY_HAND = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")

_LOG = logging.getLogger("miner")


def check_devices(checked: RunConfig) -> None:
    """Check what the `trainer` group asks of this machine. Imports torch for CUDA alone.

    Raises:
        ConfigError: several devices without `trainer=ddp`, or more GPUs than there are.
    """
    trainer = checked.trainer
    for name, number in (("devices", trainer.devices), ("num_nodes", trainer.num_nodes)):
        if trainer.strategy == "auto" and number > 1:
            raise ConfigError(
                f"trainer.{name}={number}: a process uses one device; for several add trainer=ddp"
            )
    if trainer.devices > 1 and device_type(trainer.accelerator) == "cuda":
        _check_gpus(trainer.devices)


def check_processes(checked: RunConfig, place: Place, is_folder_named: bool) -> None:
    """Check that the processes that were started are those of one run in one folder.

    Raises:
        ConfigError: their number, a folder of their own each, or a machine without a number.
    """
    trainer = checked.trainer
    n_ranks = trainer.devices * trainer.num_nodes
    if trainer.strategy == "auto":
        if place.starter == "torchrun" and place.n_started > 1:
            raise ConfigError(
                f"trainer.strategy=auto: torchrun has started {place.n_started} processes, and "
                "each would fit the whole image; add trainer=ddp and trainer.devices"
            )
        return
    if place.starter is not None and place.n_started != n_ranks:
        raise ConfigError(
            f"trainer.devices={trainer.devices} trainer.num_nodes={trainer.num_nodes}: "
            f"{place.starter} has started {place.n_started} processes; give the processes of each "
            "machine and the number of machines"
        )
    if place.starter == "Slurm":
        _check_slurm(checked)
    absent = [name for name in _BY_HAND if name not in os.environ]
    if place.starter is None and trainer.num_nodes > 1 and absent:
        raise ConfigError(
            f"trainer.num_nodes={trainer.num_nodes}: this machine is not told {', '.join(absent)}; "
            f"start the run with srun or torchrun, or on each machine with {', '.join(_BY_HAND)}"
        )
    is_started_apart = place.n_started > 1 or trainer.num_nodes > 1
    if is_started_apart and not is_folder_named:
        raise ConfigError(
            f"hydra.run.dir: each of {n_ranks} processes would make a folder of its own; name one "
            "on a disk that all machines share, as hydra.run.dir=/shared/run"
        )
    if place.is_first:
        _warn_of_few_cores(trainer.devices)


def _check_slurm(checked: RunConfig) -> None:
    """Slurm tells Lightning these numbers only where they were asked for."""
    trainer = checked.trainer
    asked = {
        "SLURM_NTASKS_PER_NODE": ("devices", trainer.devices, "--ntasks-per-node"),
        "SLURM_NNODES": ("num_nodes", trainer.num_nodes, "--nodes"),
    }
    for name, (field, number, option) in asked.items():
        told = os.environ.get(name)
        if told != str(number) and trainer.devices * trainer.num_nodes > 1:
            raise ConfigError(
                f"trainer.{field}={number}: {name} is {told or 'not set'}; start the run with "
                f"{option}={number} (not --ntasks alone)"
            )


def _check_gpus(devices: int) -> None:
    import torch

    n_gpus = torch.cuda.device_count()
    if devices > n_gpus:
        raise ConfigError(
            f"trainer.devices={devices}: this process sees {n_gpus} GPUs of its machine; ask for "
            "no more, let every process see all of them, or use trainer.accelerator=cpu"
        )


def _warn_of_few_cores(devices: int) -> None:
    import joblib

    n_cores = joblib.cpu_count(only_physical_cores=True)
    if devices > n_cores and "OMP_NUM_THREADS" not in os.environ:
        _LOG.warning("%d processes share the %d cores of this machine", devices, n_cores)
