"""Several processes make one folder: what each has written, all know of, and one keeps it."""

from pathlib import Path
from typing import Any

import pytest
import torch

import miner
from miner.engine.module import refuse_differences
from miner.representation import MANIFEST, Representation, Shard, read_manifest
from miner.representation.store import FolderStore
from miner.support.communication import SingleProcess
from miner.support.errors import ConfigError


@pytest.fixture(scope="module")
def fitted() -> Representation:
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)).numpy()
    return miner.fit(
        image,
        patch_size=4,
        pyramid={"n_levels": 1},
        fitting={"max_steps": 1, "blocks_per_shard": 6},
        model={"width": 3},
        capacity="uniform",
    )


def make(folder: Path, fitted: Representation, is_keeper: bool) -> FolderStore:
    return FolderStore(folder, fitted.spec, {"backend": "any"}, "digest", is_keeper)


def fit_level(store: FolderStore, shards: list[Shard]) -> None:
    for shard in shards:
        store.add(shard)


def test_two_products_make_what_one_would(fitted: Representation, tmp_path: Path) -> None:
    keeper, other = make(tmp_path, fitted, True), make(tmp_path, fitted, False)
    keeper.begin()
    other.join()
    shards = list(fitted.shards[0])
    chunks = [shard.blocks for shard in shards]
    assert (keeper.start_level(0, chunks), other.start_level(0, chunks)) == ([0, 1, 2], [])
    fit_level(keeper, shards[:1])
    fit_level(other, shards[1:])
    shard_headers = [keeper.shard_headers(), other.shard_headers()]
    assert [[head.shard.stored for head in part] for part in shard_headers] == [[{}], [{}, {}]]
    for store in (keeper, other):
        for part in shard_headers:
            store.add_remote(part)
        assert [shard.chunk for shard in store.shards] == [0, 1, 2]
    other.finish_level()
    assert read_manifest(tmp_path).levels == {}
    keeper.finish_level()
    assert torch.equal(miner.load(tmp_path).reconstruct(), fitted.reconstruct())


def test_file_that_never_shows_is_named(
    fitted: Representation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miner.support.files.LATE_S", 0.0)
    here, elsewhere = (make(tmp_path / name, fitted, True) for name in ("here", "elsewhere"))
    with pytest.raises(FileNotFoundError, match=rf"is not there .* hydra.run.dir .*{MANIFEST}"):
        here.join()
    for store in (here, elsewhere):
        store.begin()
        store.start_level(0, [shard.blocks for shard in fitted.shards[0]])
    fit_level(elsewhere, list(fitted.shards[0]))
    with pytest.raises(FileNotFoundError, match="level00-chunk00000"):
        here.add_remote(elsewhere.shard_headers())


class Told(SingleProcess):
    """A rank 0 that hears this from rank 1."""

    world_size = 2

    def __init__(self, other: object) -> None:
        self.other = other

    def gather(self, value: Any) -> list[Any]:
        return [value, self.other]


@pytest.mark.parametrize(
    ("other", "words"),
    [(("EagerBackend", "digest"), "backend=eager"), (("CompiledBackend", "x"), "same command")],
)
def test_ranks_that_would_make_other_bits_are_refused(other: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        refuse_differences(Told(other), "CompiledBackend", "digest")
    refuse_differences(Told(("CompiledBackend", "digest")), "CompiledBackend", "digest")
