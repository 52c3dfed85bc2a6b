"""The runs gathered by their setting: means over seeds, then over images."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from miner.comparison.comparison import Comparison
from miner.comparison.differences import mean_numbers
from miner.comparison.runs import Result


@dataclass(frozen=True)
class Setting:
    """One setting of the factors. `numbers` are means over seeds, then over images.

    `complete` tells whether it has finished on every image that any setting finished on: only
    then are its means comparable with others'. `runs` are places in the comparison's results.
    """

    values: Mapping[str, str]
    numbers: Mapping[str, float]
    n_images: int
    n_finished: int
    complete: bool
    runs: list[int]


def settings(comparison: Comparison) -> list[Setting]:
    """All settings of the factors, in order of appearance."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, result in enumerate(comparison.results):
        groups[comparison.setting(result)].append(index)
    n_images = len({comparison.image(result) for result in comparison.finished})
    return [_gather(comparison, values, runs, n_images) for values, runs in groups.items()]


def _gather(
    comparison: Comparison, values: tuple[str, ...], runs: list[int], n_images: int
) -> Setting:
    by_image: dict[str, list[Result]] = defaultdict(list)
    for result in (comparison.results[index] for index in runs):
        if result.status == "finished":
            by_image[comparison.image(result)].append(result)
    means = [mean_numbers(own) for own in by_image.values()]
    shared = [name for name in comparison.metrics if means and all(name in m for m in means)]
    return Setting(
        values=dict(zip(comparison.factors, values, strict=True)),
        numbers={name: sum(m[name] for m in means) / len(means) for name in shared},
        n_images=len(by_image),
        n_finished=sum(map(len, by_image.values())),
        complete=len(by_image) == n_images,
        runs=runs,
    )
