"""How this process uses its machine: threads and memory. Call it before the heavy imports."""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST_MMAP_THRESHOLD = 2**25  # glibc refuses more than HEAP_MAX_SIZE / 2


def prepare() -> None:
    """Call before torch is imported: its threads read the environment once.

    Waiting threads sleep instead of spinning, which makes a step several times faster on a machine
    that is busy with something else. Freed memory stays with the process: else every tensor of some
    megabytes is returned to the system, and the next one faults its pages in again.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def use_available_cores(n_parallel_jobs: int = 1) -> None:
    """Give PyTorch, and the compiled steps, one thread for each core that this process may use.

    A container or a batch system may grant fewer cores than the machine has; `n_parallel_jobs`
    share them equally. OMP_NUM_THREADS, where it is set, decides instead.
    """
    import joblib
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        n_cores = joblib.cpu_count(only_physical_cores=True)
        torch.set_num_threads(max(1, n_cores // n_parallel_jobs))


def share_cores(world_size: int) -> None:
    """Give PyTorch this rank's share of a machine's cores, or as many as Slurm grants each process.

    Lightning and the processes that this one starts find the number in OMP_NUM_THREADS.
    """
    import joblib
    import torch

    use_available_cores(world_size)
    granted = os.environ.get("SLURM_CPUS_PER_TASK")
    if granted is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(joblib.cpu_count(only_physical_cores=True), int(granted)))
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
