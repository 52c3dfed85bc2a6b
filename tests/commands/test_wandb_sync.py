"""`scripts/sync_wandb.py` finds offline runs, uploads them once and names those it could not."""

import importlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import wandb
from runs import ROOT

from miner.loggers.wandb import start_run

Sync = Callable[..., int]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("sync_wandb")


@pytest.fixture
def sync(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Call the script; gives its exit status."""

    def call(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["sync_wandb.py", *map(str, arguments)])
        return script.main()

    return call


@pytest.fixture
def online(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if account and network were there."""
    monkeypatch.setattr(script, "what_is_missing", lambda: None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for `wandb sync`: it marks every file but those of a run named `bad`."""
    made: list[list[str]] = []
    run = subprocess.run

    def pretend(command: list[str], **options: Any) -> Any:
        if "sync" not in command:
            return run(command, **options)
        made.append(command)
        for file in map(Path, command[command.index("--") + 1 :]):
            if "bad" not in file.name:
                file.with_name(f"{file.name}.synced").touch()
        return None

    monkeypatch.setattr(subprocess, "run", pretend)
    return made


@pytest.fixture
def reachable() -> Iterator[str]:
    """The address of a server that knows no page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


class Refusing(BaseHTTPRequestHandler):
    """Answers nothing but errors."""

    def log_message(self, *arguments: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep's folder with two offline jobs, an online one and the closing run."""
    for place in ("0-a/wandb/offline-run-1-a/run-a.wandb", "1-b/wandb/offline-run-2-b/run-b.wandb"):
        save_file(tmp_path / place)
    save_file(tmp_path / "2-c/wandb/run-3-c/run-c.wandb")
    save_file(tmp_path / "wandb/offline-run-4-d/run-d.wandb")
    (tmp_path / "wandb/latest-run").symlink_to("offline-run-4-d")
    return tmp_path


def save_file(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.touch()


def uploaded(call: list[str]) -> list[str]:
    return [Path(file).name for file in call[call.index("--") + 1 :]]


def test_all_offline_runs_are_uploaded_once(
    sweep: Path, sync: Sync, online: None, calls: list[list[str]]
) -> None:
    assert sync(sweep, sweep / "0-a", "--project", "p", "--entity", "e") == 0
    assert sync(sweep) == 0
    (call,) = calls
    assert call[1:6] == ["-m", "wandb", "sync", "--project=p", "--entity=e"]
    assert uploaded(call) == ["run-a.wandb", "run-b.wandb", "run-d.wandb"]


def test_what_failed_is_named_and_tried_again(
    sweep: Path,
    sync: Sync,
    online: None,
    calls: list[list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_file(sweep / "3-bad/wandb/offline-run-5-bad/run-bad.wandb")
    assert sync(sweep) == 1
    printed = capsys.readouterr()
    assert f"NOT UPLOADED  {sweep}/3-bad/wandb/offline-run-5-bad" in printed.out
    assert printed.out.count("NOT UPLOADED") == 1
    assert "1 runs are not uploaded" in printed.err
    assert sync(sweep) == 1
    assert uploaded(calls[1]) == ["run-bad.wandb"]


def test_dry_run_lists_and_does_nothing(
    sweep: Path, sync: Sync, calls: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync(sweep, "--dry-run") == 0
    assert capsys.readouterr().out.count("would upload") == 3
    assert not calls


@pytest.mark.parametrize(
    ("is_reachable", "words"),
    [
        (True, "no W&B account is set up; call `wandb login`"),
        (False, "http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_without_account_or_network_it_says_so_and_does_not_wait(
    sweep: Path,
    sync: Sync,
    calls: list[list[str]],
    reachable: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_reachable: bool,
    words: str,
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", reachable if is_reachable else "http://127.0.0.1:9")
    wandb.teardown()
    assert sync(sweep) == 1
    wandb.teardown()
    assert words in capsys.readouterr().err
    assert not calls


def test_a_folder_that_is_not_there_is_refused(
    sync: Sync, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        sync("nowhere")
    assert "nowhere: no such folder" in capsys.readouterr().err


def test_wandb_takes_the_file_that_is_uploaded(tmp_path: Path, script: ModuleType) -> None:
    start_run(tmp_path, True, project="miner").finish()
    (file,) = script.find_runs([tmp_path])
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", "--", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "Would sync 1 run(s)" in done.stderr
