"""Which runs had the same image."""

from collections import defaultdict
from collections.abc import Sequence

from miner.comparison.results import Result


def image_names(results: Sequence[Result]) -> list[str]:
    """Each run's image by name; images of one name and other content get names of their own.

    The content is known by shape and digest. Older runs stored no digest, so that theirs counts as
    that of the other runs with this name and shape, if these agree.
    """
    digests: dict[tuple[str, str], set[str]] = defaultdict(set)
    for result in results:
        if result.report.get("image_sha256"):
            digests[result.image, _shape(result)].add(str(result.report["image_sha256"]))
    contents = [
        (_shape(result), _digest(result) if len(digests[result.image, _shape(result)]) > 1 else "")
        for result in results
    ]
    variants: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for result, content in zip(results, contents, strict=True):
        if content[0]:  # a run that failed early says nothing about its image
            variants[result.image].add(content)
    return [
        f"{result.image} ({digest[:8] or shape})"
        if len(variants[result.image]) > 1 and shape
        else result.image
        for result, (shape, digest) in zip(results, contents, strict=True)
    ]


def _shape(result: Result) -> str:
    sides = [result.report.get(side) for side in ("width_px", "height_px", "channels")]
    return "" if None in sides else "x".join(map(str, sides))


def _digest(result: Result) -> str:
    return str(result.report.get("image_sha256") or "")
