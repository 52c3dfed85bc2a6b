"""Several processes make one folder: what each has written, all know of, and one keeps it."""

from pathlib import Path
from typing import Any

import pytest
import torch

import miner
from miner.exchange import Alone
from miner.representation import MANIFEST, MinerRepresentation, Shard, read_manifest
from miner.schema import ConfigError
from miner.training.product import Product
from miner.training.start import refuse_differences


@pytest.fixture(scope="module")
def fitted() -> MinerRepresentation:
    image = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)).numpy()
    return miner.fit(
        image,
        patch_size=4,
        pyramid={"n_levels": 1},
        fitting={"max_steps": 1, "chunk_size": 6},
        model={"width": 3},
        sizing="uniform",
    )


def make(folder: Path, fitted: MinerRepresentation, is_keeper: bool) -> Product:
    return Product(folder, fitted.spec, {"kernel": "any"}, "digest", is_keeper)


def fit_level(product: Product, shards: list[Shard]) -> None:
    for shard in shards:
        product.add(shard)


def test_two_products_make_what_one_would(fitted: MinerRepresentation, tmp_path: Path) -> None:
    keeper, other = make(tmp_path, fitted, True), make(tmp_path, fitted, False)
    keeper.begin()
    other.join()
    shards = list(fitted.shards[0])
    chunks = [shard.blocks for shard in shards]
    assert (keeper.start_level(0, chunks), other.start_level(0, chunks)) == ([0, 1, 2], [])
    fit_level(keeper, shards[:1])
    fit_level(other, shards[1:])
    heads = [keeper.heads(), other.heads()]
    assert [[head.shard.stored for head in part] for part in heads] == [[{}], [{}, {}]]
    for product in (keeper, other):
        for part in heads:
            product.take(part)
        assert [shard.chunk for shard in product.shards] == [0, 1, 2]
    other.finish_level()
    assert read_manifest(tmp_path).levels == {}
    keeper.finish_level()
    assert torch.equal(miner.load(tmp_path).reconstruct(), fitted.reconstruct())


def test_file_that_never_shows_is_named(
    fitted: MinerRepresentation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miner.files.LATE_S", 0.0)
    here, elsewhere = (make(tmp_path / name, fitted, True) for name in ("here", "elsewhere"))
    with pytest.raises(FileNotFoundError, match=rf"is not there .* hydra.run.dir .*{MANIFEST}"):
        here.join()
    for product in (here, elsewhere):
        product.begin()
        product.start_level(0, [shard.blocks for shard in fitted.shards[0]])
    fit_level(elsewhere, list(fitted.shards[0]))
    with pytest.raises(FileNotFoundError, match="level00-chunk00000"):
        here.take(elsewhere.heads())


class Told(Alone):
    """A rank 0 that hears this from rank 1."""

    n_ranks = 2

    def __init__(self, other: object) -> None:
        self.other = other

    def gather(self, value: Any) -> list[Any]:
        return [value, self.other]


@pytest.mark.parametrize(
    ("other", "words"),
    [(("EagerKernel", "digest"), "kernel=eager"), (("FusedKernel", "x"), "same command")],
)
def test_ranks_that_would_make_other_bits_are_refused(other: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        refuse_differences(Told(other), "FusedKernel", "digest")
    refuse_differences(Told(("FusedKernel", "digest")), "FusedKernel", "digest")
