"""What the reports' numbers are called."""

COSTS = ("n_parameters", "fit_time_s", "bits_per_pixel")
"""What quality is plotted against, and compared at equal amounts of."""

MAIN = ("psnr_db", "ssim", *COSTS, "wall_time_s", "peak_memory_gib", "objective")
"""The numbers that a page shows; the tab-separated table holds all."""

_NAMES = {
    "psnr_db": ("PSNR", "dB"),
    "ssim": ("SSIM", ""),
    "seam_ratio": ("seam ratio", ""),
    "n_parameters": ("parameters", ""),
    "parameters_per_pixel": ("parameters per pixel", ""),
    "file_bytes": ("file size", "bytes"),
    "bits_per_pixel": ("bits per pixel", ""),
    "wall_time_s": ("time in all", "s"),
    "fit_time_s": ("fitting time", "s"),
    "render_time_s": ("rendering time", "s"),
    "peak_memory_gib": ("peak memory", "GiB"),
    "peak_gpu_memory_gib": ("peak GPU memory", "GiB"),
}


def name(metric: str) -> str:
    """What people call a number of the report."""
    return _NAMES.get(metric, (metric, ""))[0]


def unit(metric: str) -> str:
    """The unit of a number, empty where it has none or it is unknown."""
    return _NAMES.get(metric, (metric, ""))[1]


def title(metric: str) -> str:
    """Name and unit, such as `PSNR (dB)`."""
    return f"{name(metric)} ({unit(metric)})" if unit(metric) else name(metric)
