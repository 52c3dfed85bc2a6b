"""The bars of a run: refits make them longer, they show PSNR, and say what goes on."""

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
from in_process import run
from rich.progress import Progress

import miner.callbacks.progress

WIDTHS = ("capacity=target_error", "capacity.probe_steps=1", "fitting.max_mse=1e-9")


class Recording(Progress):
    """Bars that note what they show."""

    shown: ClassVar[list[tuple[str, float, float | None]]] = []

    def _note(self, task_id: Any) -> None:
        task = next(task for task in self.tasks if task.id == task_id)
        self.shown.append((task.description, task.completed, task.total))

    def add_task(self, description: str, *given: Any, **named: Any) -> Any:
        task_id = super().add_task(description, *given, **named)
        self._note(task_id)
        return task_id

    def update(self, task_id: Any, **named: Any) -> None:
        super().update(task_id, **named)
        self._note(task_id)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float, float | None]]:
    """What the bars of this test show, in order: text, work that is done, and all work."""
    monkeypatch.setattr(miner.callbacks.progress, "Progress", Recording)
    Recording.shown = []
    return Recording.shown


@pytest.mark.parametrize("max_refits", [0, 1])
def test_refits_make_the_bar_of_a_level_longer(
    tmp_path: Path, shown: list[tuple[str, float, float | None]], max_refits: int
) -> None:
    refits = f"capacity.max_refits={max_refits}"
    run(tmp_path, "callbacks=[progress,report]", *WIDTHS, refits)
    for level, n_blocks in ((1, 4), (0, 16)):
        bar = [row for row in shown if row[0].startswith(f"level {level}")]
        assert bar[0] == (f"level {level}", 0, 2 * n_blocks)
        assert bar[-1][1:] == (2 * n_blocks * (1 + max_refits),) * 2
        assert all(done <= (total or 0) for _, done, total in bar)


def test_bars_say_what_goes_on_with_its_quality(
    tmp_path: Path, shown: list[tuple[str, float, float | None]]
) -> None:
    report = run(tmp_path, "callbacks=[progress,report]", *WIDTHS)
    texts = list(dict.fromkeys(text for text, *_ in shown))
    known = [text for text in texts if "dB" not in text]
    starts = ["levels", "building the pyramid", "level 1", "scoring level 1", "level 0"]
    assert known == [*starts, "scoring level 0", "drawing and writing"]
    assert [text for text in texts if text.startswith("levels ")] == [
        f"levels  {level['psnr_db']:.2f} dB" for level in report["levels"]
    ]
    for level in (1, 0):
        found = [re.fullmatch(rf"level {level}  (\S+) dB", text) for text in texts]
        assert all(5 < float(match[1]) < 60 for match in found if match) and any(found)


def test_a_run_that_fails_removes_its_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: list[Any]
) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(Recording, "stop", lambda self: stopped.append(True))
    failing = f"+callbacks.mine._target_={__name__}.Failing"
    with pytest.raises(RuntimeError, match="out of paper"):
        run(tmp_path, "callbacks=[progress,report]", failing)
    assert stopped


class Failing(miner.callbacks.progress.Callback):
    """Fails when a chunk is stored."""

    def on_chunk_end(self, trainer: Any, module: Any, shard: Any) -> None:
        raise RuntimeError("out of paper")
