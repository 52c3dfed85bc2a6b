"""How this process uses its machine: threads and memory. Set before the heavy work begins."""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


_LARGEST_MMAP_THRESHOLD = 2**25  # glibc refuses more than HEAP_MAX_SIZE / 2


def prepare() -> None:
    """Call before torch is imported: its threads read the environment once.

    Waiting threads sleep instead of spinning, which on a machine that is busy with something else
    makes a step several times faster. Freed memory stays with the process: else every tensor of
    some megabytes is given back to the system, and its pages are faulted in anew by the next.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def use_available_cores(n_parallel_jobs: int = 1) -> None:
    """Give PyTorch, and the compiled steps with it, one thread for each core that is ours.

    Of `n_parallel_jobs` jobs on these cores, each takes its share.

    Those of a container or a batch system may be fewer than the machine has. OMP_NUM_THREADS, where
    it is set, decides instead.
    """
    import joblib
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        n_cores = joblib.cpu_count(only_physical_cores=True)
        torch.set_num_threads(max(1, n_cores // n_parallel_jobs))


def share_cores(world_size: int) -> None:
    """Give PyTorch this process's share of a machine's cores, among the ranks of a run there.

    A number of cores that Slurm grants each process is its share. What these processes start, and
    Lightning, find the number in OMP_NUM_THREADS.
    """
    import joblib
    import torch

    n_cores = joblib.cpu_count(only_physical_cores=True)
    use_available_cores(world_size)
    granted = os.environ.get("SLURM_CPUS_PER_TASK")
    if granted is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(n_cores, int(granted)))
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
