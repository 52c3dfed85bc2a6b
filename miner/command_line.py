"""Arguments as people type them, before Hydra's grammar sees them."""

from collections.abc import Sequence
from pathlib import Path

_KEY = "image.path="


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Quote `image.path=FILE` where FILE exists, so that its name may hold any characters.

    Hydra's grammar refuses `IMG (1).jpg`, `~/a.jpg` or `é.jpg` as they are. Anything else, such as
    a sweep over several files, is left as it is.
    """
    return [_quoted(argument) for argument in arguments]


def _quoted(argument: str) -> str:
    if not argument.startswith(_KEY):
        return argument
    name = argument.removeprefix(_KEY)
    path = str(Path(name).expanduser()) if name.startswith("~/") else name
    try:
        exists = Path(path).exists()
    except (OSError, ValueError):  # too long, or no path at all: let the checks say so
        exists = False
    if not exists:
        return argument
    # A backslash before a quote, or at the end, escapes it; "${" would be an interpolation.
    escaped = path.replace("\\", "\\\\").replace("${", "\\${").replace("'", "\\'")
    return f"{_KEY}'{escaped}'"
