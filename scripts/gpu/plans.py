"""What the GPU benchmark measures: at full size, and so small that a CPU rehearses it."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpu import checks, steps
from gpu.blocks import Case
from gpu.fits import Goal, Job

CHECKED = ("pluto.jpg", "Road.jpg")
"""Images whose patches are fitted for checks and for times of steps."""

PLUTO, MOSAIC = "pluto.jpg", "caliterra_mosaic_8000x9000.jpg"
COMPOSED = ("Acrylic.jpg", "Road.jpg", "SeaSunset.jpg", "caliterra_IMG_9419.jpg")
"""Photographs that the gigapixel is composed of; those that are there."""

FAST = "experiment=fast"
WIDE_CHUNKS = "fitting.blocks_per_shard=16384 fitting.max_memory_gib=4"
FEW_STEPS = "fitting.max_steps=100"
RESIDUAL = "pyramid=laplacian pyramid.n_levels=2 fitting.coarse_ratio=100"
UNIFORM = "patch_size=32 encoding.n_frequencies=8 model.width=[4,14] optimizer.lr=0.02"
PLUTO_RECIPES = (
    f"{FEW_STEPS} {WIDE_CHUNKS}",
    f"{RESIDUAL} fitting.max_steps=60 capacity.probe_steps=25 {WIDE_CHUNKS}",
    f"{FAST} {UNIFORM} fitting.max_steps=200 {WIDE_CHUNKS}",
    f"{FAST} {WIDE_CHUNKS}",
)
"""On a CPU all but the last reach 42 dB with 0.35 parameters a pixel; that one is for speed."""


@dataclass(frozen=True)
class Plan:
    """Sizes of every part; `common` are overrides of all fits, `sides` those of square images."""

    copied_bytes: int
    matrix_side: int
    checks: checks.Sizes
    steps: steps.Sizes
    pluto: Job
    mosaic: Job
    reference: Job
    gigapixel: Job
    pluto_side: int
    gigapixel_side: int
    composing_s: float
    common: Sequence[str]


def full() -> Plan:
    """For a GPU with some tens of gigabytes."""
    return Plan(
        copied_bytes=4 * 2**30,
        matrix_side=8192,
        checks=checks.Sizes(
            cases=(
                *(Case("closed_form", width) for width in (20, 8, 40)),
                Case("sigmoid", 20),
                Case("closed_form", 10, patch_size=16),
                Case("closed_form", 20, channels=3),
                Case("scaled_sine", 20),
                Case("gaussian", 16),
                *(Case("sigmoid", width) for width in (8, 40)),
                Case("sigmoid", 20, patch_size=16),
            ),
            n_blocks=1024,
            n_steps=100,
        ),
        steps=steps.Sizes(
            cases=(
                Case("closed_form", 20),
                Case("closed_form", 10),
                Case("closed_form", 10, patch_size=16),
                Case("closed_form", 40),
                Case("closed_form", 20, channels=3),
                Case("scaled_sine", 20),
            ),
            n_blocks=(2048, 16384),
            n_steps=50,
            repeats=5,
        ),
        pluto=Job("pluto 4096x4096", PLUTO_RECIPES, expected_s=40, goal=Goal(42.0, 2.0, 0.35)),
        mosaic=Job("caliterra 8000x9000", (f"{FAST} {WIDE_CHUNKS}",), expected_s=70),
        reference=Job("pluto 4096x4096", ("experiment=miner_pl_pluto",), expected_s=60),
        gigapixel=Job(
            "gigapixel 32768x32768",
            (f"{FAST} model.width=[4,7] {WIDE_CHUNKS}",),
            expected_s=240,
            goal=Goal(38.6, 180.0, peak_gpu_memory_gib=8.0),
            repeats=1,
        ),
        pluto_side=4096,
        gigapixel_side=32768,
        composing_s=30,
        common=("trainer=cuda",),
    )


def rehearsal() -> Plan:
    """Every part within seconds, on a CPU."""
    goal = Goal(10.0, 60.0)
    return Plan(
        copied_bytes=2**20,
        matrix_side=64,
        checks=checks.Sizes(
            cases=(
                Case("closed_form", 4, patch_size=8),
                Case("sigmoid", 4, patch_size=8),
                Case("scaled_sine", 4, patch_size=8, channels=3),
            ),
            n_blocks=4,
            n_steps=3,
        ),
        steps=steps.Sizes((Case("closed_form", 4, patch_size=8),), (2,), n_steps=2, repeats=1),
        pluto=Job("pluto 64x64", (FAST,), expected_s=1, goal=goal, repeats=1),
        mosaic=Job("caliterra, its middle", (f"{FAST} image.crop_px=64",), expected_s=1, repeats=1),
        reference=Job("pluto 64x64", ("experiment=miner_pl_pluto",), expected_s=1, repeats=1),
        gigapixel=Job("composed 512x512", (FAST,), expected_s=1, goal=goal, repeats=1),
        pluto_side=64,
        gigapixel_side=512,
        composing_s=1,
        common=("trainer=cpu", "fitting.max_steps=4"),
    )
