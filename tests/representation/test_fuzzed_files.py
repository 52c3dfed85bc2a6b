"""Some of the damage that scripts/fuzz_representation.py does, in this process."""

import sys
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import fuzz_mutations  # noqa: E402
import fuzz_representation as fuzz  # noqa: E402
from fuzz_files import MANIFEST, Files, shards  # noqa: E402
from fuzz_mutations import MUTATIONS  # noqa: E402

N_INPUTS = 210


@pytest.fixture(scope="module")
def corpus() -> list[Files]:
    return fuzz.make_corpus()


def test_every_sound_representation_renders(corpus: list[Files], tmp_path: Path) -> None:
    for number, files in enumerate(corpus):
        assert fuzz.outcome(fuzz.written(files, tmp_path / str(number))) == "loaded"


def test_what_is_signed_again_is_as_sound_as_before(corpus: list[Files], tmp_path: Path) -> None:
    for number, files in enumerate(corpus):
        for name in shards(files):
            tensors, metadata = fuzz_mutations.opened(files[name])
            files = fuzz_mutations.resigned(files, name, tensors, {**metadata, "x": "y"})
        assert fuzz.outcome(fuzz.written(files, tmp_path / str(number))) == "loaded"


@pytest.mark.filterwarnings("ignore")  # of numbers that overflow
def test_damage_is_refused_or_harmless(corpus: list[Files], tmp_path: Path) -> None:
    for number in range(N_INPUTS):
        place = fuzz.written(fuzz.mutated(number, corpus), tmp_path / str(number))
        assert fuzz.outcome(place) in ("loaded", "refused"), number


@pytest.mark.parametrize("kind", MUTATIONS)
def test_a_mutation_changes_files_and_leaves_its_arguments_alone(
    corpus: list[Files], kind: str
) -> None:
    before = dict(corpus[0])
    changed = [MUTATIONS[kind](Random(seed), corpus[0], corpus[1]) != before for seed in range(8)]
    assert sum(changed) >= 4
    assert corpus[0] == before


def test_damaged_files_are_refused(corpus: list[Files], tmp_path: Path) -> None:
    files = {**corpus[0], MANIFEST: corpus[0][MANIFEST][:-1]}
    assert fuzz.outcome(fuzz.written(files, tmp_path / "cut")) == "refused"


@pytest.mark.slow
def test_a_row_counts_every_input_of_its_kind(tmp_path: Path) -> None:
    n_kinds = len(fuzz.KINDS)
    outcomes = fuzz.run_batch(0, 3 * n_kinds, tmp_path)
    rows = fuzz.table(outcomes)
    assert [row["inputs"] for row in rows] == [3] * n_kinds
    assert all(row["loaded"] + row["refused"] <= 3 for row in rows)
