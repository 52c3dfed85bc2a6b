"""What the GPU benchmark measures: at full size, and so small that a CPU rehearses it."""

from collections.abc import Sequence
from typing import NamedTuple

from gpu.blocks import Case, Sizes
from gpu.fits import Goal, Job

PLUTO, MOSAIC = "pluto.jpg", "caliterra_mosaic_8000x9000.jpg"
CHECKED = (PLUTO, "Road.jpg")  # their patches are fitted for checks and for times of steps
COMPOSED = ("Acrylic.jpg", "Road.jpg", "SeaSunset.jpg", "caliterra_IMG_9419.jpg")

FAST = "experiment=fast"
REFERENCE = "experiment=miner_pl_pluto"
WIDE_CHUNKS = "fitting.blocks_per_shard=16384 fitting.max_memory_gib=4"
RESIDUAL = "pyramid=laplacian pyramid.n_levels=2 fitting.coarse_ratio=100"
UNIFORM = "patch_size=32 encoding.n_frequencies=8 model.width=[4,14] optimizer.lr=0.02"
PLUTO_RECIPES = (  # on a CPU all but the last, the fastest, reach 42 dB, 0.35 parameters a pixel
    f"fitting.max_steps=100 {WIDE_CHUNKS}",
    f"{RESIDUAL} fitting.max_steps=60 capacity.probe_steps=25 {WIDE_CHUNKS}",
    f"{FAST} {UNIFORM} fitting.max_steps=200 {WIDE_CHUNKS}",
    f"{FAST} {WIDE_CHUNKS}",
)
PLUTO_GOAL = Goal(42.0, 2.0, {"parameters_per_pixel": 0.35})
GIGAPIXEL_RECIPE = f"{FAST} model.width=[4,7] {WIDE_CHUNKS}"
GIGAPIXEL_GOAL = Goal(38.6, 180.0, {"peak_gpu_memory_gib": 8.0})

TIMED = (
    Case("closed_form", 20),
    Case("closed_form", 10),
    Case("closed_form", 10, patch_size=16),
    Case("closed_form", 40),
    Case("closed_form", 20, channels=3),
    Case("scaled_sine", 20),
)
ALSO_CHECKED = (
    Case("closed_form", 8),
    Case("gaussian", 16),
    *(Case("sigmoid", width) for width in (20, 8, 40)),
    Case("sigmoid", 20, patch_size=16),
)
TINY = (Case("closed_form", 4, 8), Case("sigmoid", 4, 8), Case("scaled_sine", 4, 8, channels=3))


class Plan(NamedTuple):
    """Sizes of every part; `common` are overrides of all fits."""

    copied_bytes: int
    matrix_side: int
    checks: Sizes
    steps: Sizes
    pluto: Job
    mosaic: Job
    reference: Job
    gigapixel: Job
    pluto_side: int
    gigapixel_side: int
    composing_s: float
    common: Sequence[str]


FULL = Plan(  # for a GPU with some tens of gigabytes
    copied_bytes=4 * 2**30,
    matrix_side=8192,
    checks=Sizes((*TIMED, *ALSO_CHECKED), (1024,), n_steps=100),
    steps=Sizes(TIMED, (2048, 16384), n_steps=50, repeats=5),
    pluto=Job("pluto 4096x4096", PLUTO_RECIPES, 40, PLUTO_GOAL),
    mosaic=Job("caliterra 8000x9000", [f"{FAST} {WIDE_CHUNKS}"], 70),
    reference=Job("pluto 4096x4096", [REFERENCE], 60),
    gigapixel=Job("gigapixel 32768x32768", [GIGAPIXEL_RECIPE], 240, GIGAPIXEL_GOAL, repeats=1),
    pluto_side=4096,
    gigapixel_side=32768,
    composing_s=30,
    common=("trainer=cuda",),
)
REHEARSAL = Plan(
    copied_bytes=2**20,
    matrix_side=64,
    checks=Sizes(TINY, (4,), n_steps=3),
    steps=Sizes(TINY[:1], (2,), n_steps=2),
    pluto=Job("pluto 64x64", [FAST], 1, Goal(10.0, 60.0), repeats=1),
    mosaic=Job("caliterra, its middle", [f"{FAST} image.crop_px=64"], 1, repeats=1),
    reference=Job("pluto 64x64", [REFERENCE], 1, repeats=1),
    gigapixel=Job("composed 512x512", [FAST], 1, Goal(10.0, 60.0), repeats=1),
    pluto_side=64,
    gigapixel_side=512,
    composing_s=1,
    common=("trainer=cpu", "fitting.max_steps=4"),
)
