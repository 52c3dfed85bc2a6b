"""Which runs had the same image."""

from collections import defaultdict
from collections.abc import Collection, Sequence

from miner.comparison.results import Result

_SHOWN = 8  # characters of a digest


def image_names(results: Sequence[Result]) -> list[str]:
    """Each run's image by name; images of one name and other content get names of their own.

    The content is known by its digest, so that crops of an image count as that image. Older runs
    stored none: theirs is that of the runs with this name and shape, if these agree.
    """
    digests: dict[tuple[str, str], set[str]] = defaultdict(set)
    for result in results:
        if _digest(result):
            digests[result.image, _shape(result)].add(_digest(result))
    contents = [_content(result, digests[result.image, _shape(result)]) for result in results]
    variants: dict[str, set[str]] = defaultdict(set)
    for result, content in zip(results, contents, strict=True):
        if content:  # a run that failed early says nothing about its image
            variants[result.image].add(content)
    return [
        f"{result.image} ({_label(content)})"
        if len(variants[result.image]) > 1 and content
        else result.image
        for result, content in zip(results, contents, strict=True)
    ]


def _content(result: Result, alike: Collection[str]) -> str:
    """A digest, else the image's shape; `alike` are the digests of runs that look the same."""
    if _digest(result):
        return _digest(result)
    return next(iter(alike)) if len(alike) == 1 else _shape(result)


def _shape(result: Result) -> str:
    sides = [result.report.get(side) for side in ("width_px", "height_px", "channels")]
    return "" if None in sides else "x".join(map(str, sides))


def _digest(result: Result) -> str:
    return str(result.report.get("image_sha256") or "")


def _label(content: str) -> str:
    return content if "x" in content else content[:_SHOWN]  # a shape, or hexadecimal digits
