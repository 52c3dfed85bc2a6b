"""W&B's environment variables count where the settings say nothing."""

from pathlib import Path

import pytest
import wandb
from runs import Command
from wandb_files import read_wandb, run_of

GIVEN = {
    "WANDB_PROJECT": "of_environment",
    "WANDB_ENTITY": "team",
    "WANDB_RUN_GROUP": "evening",
    "WANDB_NAME": "first",
    "WANDB_TAGS": "a,b",
    "WANDB_NOTES": "why",
}
RUN = ("logger=wandb", "hydra.run.dir=run")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    wandb.teardown()
    return monkeypatch


def test_variables_count(tmp_path: Path, command: Command, environment: object) -> None:
    assert command(*RUN).status == 0
    run = run_of(read_wandb(tmp_path / "run"))
    found = [run[name] for name in ("project", "entity", "run_group", "display_name", "notes")]
    assert found == ["of_environment", "team", "evening", "first", "why"]
    assert run["tags"] == ["a", "b"]


@pytest.mark.slow
def test_settings_count_before_variables(
    tmp_path: Path, command: Command, environment: object
) -> None:
    names = ("project", "entity", "group", "name", "notes")
    given = [f"logger.wandb.{name}=mine" for name in names]
    assert command(*RUN, *given, "tags=[c]").status == 0
    run = run_of(read_wandb(tmp_path / "run"))
    found = [run[name] for name in ("project", "entity", "run_group", "display_name", "notes")]
    assert found == ["mine"] * 5
    assert run["tags"] == ["c"]


def test_disabled_leaves_no_file(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    for arguments in (RUN, ("logger=wandb", "-m", "hydra.sweep.dir=sweep")):
        assert command(*arguments).status == 0
        assert list(tmp_path.rglob("wandb")) == []
    assert command(*RUN[:1], "hydra.run.dir=again", "logger.wandb.offline=true").status == 0
    assert read_wandb(tmp_path / "again")


@pytest.mark.slow
def test_shared_folder_keeps_the_runs_of_others(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    other = shared / "wandb" / "offline-run-1-a"
    other.mkdir(parents=True)
    monkeypatch.setenv("WANDB_DIR", str(shared))
    assert command(*RUN).status == 0
    assert len(list(shared.glob("wandb/offline-run-*"))) == 2
    monkeypatch.delenv("WANDB_DIR")
    own = f"logger.wandb.save_dir={shared}"
    assert command(RUN[0], "hydra.run.dir=again", own).status == 0
    assert len(list(shared.glob("wandb/offline-run-*"))) == 3
    assert other.exists()
