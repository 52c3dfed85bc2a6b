"""Arguments as people type them, before Hydra's grammar sees them."""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_KEY = "image.path="


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Quote `image.path=FILE` where FILE exists, so that its name may hold any characters.

    Hydra's grammar refuses `IMG (1).jpg`, `~/a.jpg` or `é.jpg` as they are. What it does read, such
    as a sweep over several files, is left as it is unless a file has just that name.
    """
    return [_quoted(argument) for argument in arguments]


def _parses(argument: str) -> bool:
    try:
        OverridesParser.create().parse_override(argument)
    except HydraException:
        return False
    return True


def _quoted(argument: str) -> str:
    if not argument.startswith(_KEY):
        return argument
    name = argument.removeprefix(_KEY)
    path = str(Path(name).expanduser()) if name.startswith("~/") else name
    try:
        exists = Path(path).exists()
    except (OSError, ValueError):  # too long, or no path at all: let the checks say so
        exists = False
    if not exists and _parses(argument):
        return argument
    # OmegaConf: "${" begins an interpolation unless an odd number of backslashes stands before it.
    escaped = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", path)
    # Hydra: backslashes count only before a quote, of which the closing one is the last.
    quoted = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), escaped)
    return f"{_KEY}'{quoted}'"
