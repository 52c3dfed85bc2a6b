"""The GPU benchmark where there is no GPU: its formulas, what it finds wrong, and a rehearsal."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import bench_gpu
import gpu_blocks
import gpu_checks
import gpu_clock
import gpu_floors
import gpu_machine
import gpu_plans
import gpu_steps
from gpu_blocks import Blocks, Case
from gpu_fits import Goal, Job, run_job
from gpu_journal import Journal
from hydra import compose, initialize_config_dir
from rows import read_rows

from miner.config import CONF_FOLDER
from miner.fitting.kernel import EagerKernel, FusedKernel
from miner.fitting.readout import Readout
from miner.fitting.steps import Steps, StepSettings
from miner.models.block_model import BlockModel
from miner.models.parameters import Parameters
from miner.schema import check_config

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="other tests need its programs")
SMALL = Case("closed_form", width=3, patch_size=8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the benchmark reads: waves with some noise."""
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[0:160, 0:160] / 20
    for n, name in enumerate((*bench_gpu.CHECKED, bench_gpu.MOSAIC)):
        noise = np.random.default_rng(n).normal(0, 8, (160, 160, 3))
        waves = 60 * np.sin(x + n)[..., None] + 40 * np.cos(y * (1 + n))[..., None]
        cv2.imwrite(str(folder / name), (120 + waves + noise).clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture
def blocks(images: Path) -> Blocks:
    return gpu_blocks.blocks_of(SMALL, [images / "Road.jpg"], 30)


def rehearse(monkeypatch: pytest.MonkeyPatch, images: Path, *options: str) -> int:
    given = ["bench_gpu.py", str(images), "--rehearse", *options]
    monkeypatch.setattr(sys, "argv", given)
    return bench_gpu.main()


@pytest.mark.parametrize(("readout", "multiply_adds"), [("closed_form", 33), ("sigmoid", 30)])
def test_operations_are_those_counted_by_hand(readout: str, multiply_adds: int) -> None:
    # 3 inputs, 2 layers of 2 features: 6 + 4 forward, 2 outputs, 6 + 4 + 4 + 2 backward;
    # 3 different entries of the Gram matrix and 2 of its right side, or 2 of a gradient
    case = Case(readout, width=2, patch_size=2)
    assert gpu_floors.operations(case, n_inputs=3) == 2 * 4 * multiply_adds


def test_bytes_are_those_counted_by_hand(blocks: Blocks) -> None:
    n_trained = (16 * 3 + 3) + (3 * 3 + 3)
    moved = 30 * 64 + 16 * 64 + 30 * 6 * n_trained
    assert gpu_floors.bytes_per_launch(blocks) == 4 * moved


def test_flat_patches_are_not_among_the_blocks(tmp_path: Path) -> None:
    pixels = np.full((16, 24), 100, np.uint8)
    pixels[3, 12] = 200
    cv2.imwrite(str(tmp_path / "dot.png"), pixels)
    (patch,) = gpu_blocks.active_patches(replace(SMALL, readout="sigmoid"), tmp_path / "dot.png")
    expected = torch.from_numpy(pixels[:8, 8:16].reshape(1, -1)) / 255
    torch.testing.assert_close(patch, expected)


def test_residuals_are_what_the_coarser_level_leaves_over(images: Path) -> None:
    residuals = gpu_blocks.active_patches(SMALL, images / "Road.jpg")
    assert residuals.mean().abs() < 1e-3
    assert residuals.min() < -0.01


def test_images_are_all_among_the_blocks(images: Path) -> None:
    names = [images / name for name in bench_gpu.CHECKED]
    case = Case("sigmoid", 3, patch_size=8)
    targets = gpu_blocks.blocks_of(case, names, 7).targets
    first, second = (gpu_blocks.active_patches(case, name) for name in names)
    assert torch.equal(targets[0], first[0])
    assert torch.equal(targets[1], second[0])


def test_picture_without_detail_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "flat.png"), np.full((16, 16), 9, np.uint8))
    with pytest.raises(SystemExit, match="no patch of 8 pixels that needs a network"):
        gpu_blocks.active_patches(SMALL, tmp_path / "flat.png")


def test_missing_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="give the folder"):
        gpu_blocks.active_patches(SMALL, tmp_path / "none.png")


@dataclass(frozen=True)
class Wrong(EagerKernel):
    """Plain PyTorch with a mistake."""

    mistake: str

    def steps(
        self,
        model: BlockModel,
        readout: Readout,
        settings: StepSettings,
        encoded: Tensor,
        targets: Tensor,
        start: Parameters,
    ) -> Steps:
        if targets.dtype == torch.float32:
            if self.mistake == "other targets":
                targets = 0.5 * targets
            elif self.mistake == "other rate":
                settings = replace(settings, rate=1.1)
            elif self.mistake == "batch":
                targets = targets * (1 + 1e-4 * len(targets))
            elif self.mistake == "unwritten memory":
                targets = targets + 0 * torch.empty(4096).mean()
        return super().steps(model, readout, settings, encoded, targets, start)


def test_plain_pytorch_passes_all_checks(blocks: Blocks) -> None:
    numbers, wrong = gpu_checks.checked(EagerKernel(), blocks, 10)
    assert numbers["difference_db"] < gpu_checks.MOST_DIFFERENCE_DB
    assert wrong in ([], ["blocks fitted alone have other bits"])  # batched products may round so


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("other targets", "dB from float64"),
        ("other rate", "off after"),
        ("batch", "fitted alone"),
        ("unwritten memory", "nothing wrote"),
    ],
)
def test_mistakes_are_found(blocks: Blocks, mistake: str, said: str) -> None:
    _, wrong = gpu_checks.checked(Wrong(mistake), blocks, 10)
    assert any(said in each for each in wrong), wrong


def test_steps_are_timed_against_the_larger_floor(blocks: Blocks) -> None:
    sizes = gpu_steps.Sizes((SMALL,), (30,), n_steps=2, repeats=1)
    slow_sums = gpu_steps.Ceilings(copy=1e12, float32=1e6, tf32=1e6)
    cpu = torch.device("cpu")
    row = gpu_steps.timed(EagerKernel(), SMALL, blocks, sizes, cpu, slow_sums)
    n_operations = 30 * gpu_floors.operations(SMALL, 16)
    assert row["arithmetic_floor_ms"] == pytest.approx(1e-3 * n_operations)
    assert row["times_floor"] == pytest.approx(row["step_ms"] / row["arithmetic_floor_ms"])


def test_compiled_kernels_are_found_in_their_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = SimpleNamespace(
        n_regs=96, n_spills=0, metadata=SimpleNamespace(num_warps=4, shared=1024)
    )
    launched = SimpleNamespace(device_caches={0: ({"key": compiled}, "...")})
    module = SimpleNamespace(take_steps=launched, also_here=launched, unlaunched=1)
    monkeypatch.setitem(sys.modules, "kernels.steps", cast(ModuleType, module))
    ((_, found),) = gpu_steps.compiled_kernels("kernels")
    assert found is compiled
    assert gpu_steps.compiled_kernels("kern") == []


def test_rows_are_written_as_soon_as_they_are_known(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {"commit": "abc"}, minutes=1)
    journal.row("steps", {"step_ms": 1.5})
    assert read_rows(tmp_path / "gpu_steps.tsv") == [{"step_ms": "1.5", "commit": "abc"}]


def test_what_there_is_no_time_for_is_said() -> None:
    journal = Journal(None, {}, minutes=1)
    assert journal.has_time_for("a short fit", 30)
    assert not journal.has_time_for("a long fit", 90)
    assert "left out      a long fit: takes some 90 s" in journal.summary()
    assert "short" not in journal.summary()


def test_a_part_leaves_time_for_those_after_it() -> None:
    journal = Journal(None, {}, minutes=1, share=0.5)
    assert not journal.has_time_for("a check", 45)
    assert journal.left_s() > 45


def test_case_that_breaks_is_a_failure_and_the_next_has_its_turn(images: Path) -> None:
    journal = Journal(None, {}, minutes=1)
    sizes = gpu_checks.Sizes((replace(SMALL, readout="none"), SMALL), n_blocks=4, n_steps=2)
    pictures = [images / "Road.jpg"]
    gpu_checks.check(EagerKernel(), sizes, pictures, torch.device("cpu"), journal)
    assert "KeyError" in journal.failures[0]
    assert journal.targets[0].found is not None


def test_kernel_that_leaves_the_work_to_another_is_a_failure(blocks: Blocks) -> None:
    draws = replace(gpu_blocks.settings_of(2), pixels_per_step=3)
    with pytest.raises(RuntimeError, match="FusedKernel leaves this to EagerKernel"):
        blocks.prepared(FusedKernel(), draws)


def test_summary_tells_targets_met_missed_and_not_measured() -> None:
    journal = Journal(None, {}, minutes=1)
    journal.target("speed", "at most 4", 3.2, True)
    journal.target("size", "at most 1", 3.2, False)
    journal.target("rest", "at most 1", None, False)
    assert [line.split()[0] for line in journal.summary().splitlines()[1:]] == [
        "met",
        "MISSED",
        "not",
    ]


@pytest.mark.parametrize(
    ("found", "is_as_good"),
    [
        ({}, True),
        ({"psnr_db": 41.9}, False),
        ({"parameters_per_pixel": 0.36}, False),
        ({"peak_gpu_memory_gib": 9.0}, False),
        ({"peak_gpu_memory_gib": None}, False),
    ],
)
def test_a_goal_is_more_than_time(found: dict[str, float], is_as_good: bool) -> None:
    goal = Goal(42.0, 2.0, parameters_per_pixel=0.35, peak_gpu_memory_gib=8.0)
    good = {"psnr_db": 42.0, "parameters_per_pixel": 0.35, "peak_gpu_memory_gib": 7.0}
    assert goal.is_as_good(good | found) == is_as_good


def test_every_recipe_is_one_that_a_run_takes() -> None:
    plan = gpu_plans.full()
    jobs = (plan.pluto, plan.mosaic, plan.reference, plan.gigapixel)
    with initialize_config_dir(str(CONF_FOLDER), version_base="1.3"):
        for recipe in {recipe for job in jobs for recipe in job.recipes}:
            check_config(compose("config", [*recipe.split(), *plan.common, "logger=none"]))


def test_fit_that_is_refused_is_a_failure(images: Path, tmp_path: Path) -> None:
    journal = Journal(None, {}, minutes=1)
    job = Job("picture", ("patch_size=0",), expected_s=1, goal=Goal(1.0, 1.0), repeats=1)
    run_job(job, images / "Road.jpg", ["trainer=cpu"], tmp_path, journal)
    assert "patch_size" in journal.failures[0]
    assert not journal.targets[0].is_met


@no_gpu
def test_parts_leave_rows(monkeypatch: pytest.MonkeyPatch, images: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_gpu, "TritonKernel", FusedKernel)  # the interpreter takes longer
    parts = [f"--part={name}" for name in ("checks", "steps")]
    assert rehearse(monkeypatch, images, *parts, f"--out={tmp_path}", "--commit=abc") == 0
    checks = read_rows(tmp_path / "gpu_checks.tsv")
    assert [row["readout"] for row in checks] == ["closed_form", "sigmoid", "scaled_sine"]
    assert {row["commit"] for row in checks} == {"abc"}
    command = "python scripts/bench_gpu.py IMAGES --part checks --part steps"
    assert {row["command"] for row in checks} == {command}
    assert max(float(row["difference_db"]) for row in checks) < gpu_checks.MOST_DIFFERENCE_DB
    assert len(read_rows(tmp_path / "gpu_ceilings.tsv")) == 3
    assert float(read_rows(tmp_path / "gpu_steps.tsv")[0]["times_floor"]) > 0


class FakeEvent:
    """An event that lasts as many milliseconds as actions were counted."""

    clock = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = FakeEvent.clock

    def elapsed_time(self, other: "FakeEvent") -> float:
        return other.at - self.at


def test_a_gpu_is_timed_by_its_events(monkeypatch: pytest.MonkeyPatch) -> None:
    durations = iter([100.0, 7.0, 1.0, 3.0])  # the first warms up

    def act() -> None:
        FakeEvent.clock += next(durations)

    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    assert gpu_clock.median_ms(torch.device("cuda"), act, repeats=3, warm_ups=1) == 3.0


def test_rows_name_the_gpu_and_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = SimpleNamespace(total_memory=2**37, L2_cache_size=2**25, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: sizes)
    monkeypatch.setattr(gpu_machine.shutil, "which", lambda name: None)
    cuda = torch.device("cuda")
    row = gpu_machine.origin("a command", "abc", cuda)
    assert str(row["hardware"]).startswith("Some GPU, driver unknown, torch ")
    assert (row["command"], row["commit"]) == ("a command", "abc")
    assert "132 multiprocessors, 128 GiB, L2 32 MiB" in gpu_machine.described(cuda)


@no_gpu
@pytest.mark.slow
def test_everything_is_rehearsed_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert rehearse(monkeypatch, images, f"--out={tmp_path}") == 0
    assert len(read_rows(tmp_path / "gpu_fits.tsv")) == 4
    assert read_rows(tmp_path / "gpu_launches.tsv")[0]["tile"] == "32"
    summary = capsys.readouterr().out.partition("s in all")[2]
    assert "left out" not in summary
    assert "FAILED" not in summary


def test_without_a_gpu_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench_gpu.py", str(images)])
    with pytest.raises(SystemExit) as ended:
        bench_gpu.main()
    assert ended.value.code == 1
    assert "--rehearse" in capsys.readouterr().err
