"""Write the page of all settings from `conf/` and the schema. A hook of mkdocs."""

import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from miner.cli.help import LINE, default_options, option_files, settings_of
from miner.config.schema import TORCH_FREE, settings
from miner.config.trainer import REFUSED
from miner.support.ranges import ranges_of

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_HEAD = """# Settings

`group=option` chooses a part, `group.setting=value` sets a number of it. The defaults are shown;
the first option of a group is its default. `python -m miner.run --help` prints them in a terminal,
and `--cfg job` shows the configuration of a command without running it.
"""
_REFUSED = "Other arguments of Lightning's `Trainer` have no meaning here and are refused:\n"


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/settings.md", content=settings_page()))
    return files


def settings_page() -> str:
    """The page, in Markdown."""
    sections = [_HEAD, "## Top level\n\n" + _table("")]
    return "\n".join([*sections, *map(_section, default_options())])


def _section(group: str) -> str:
    options = [[f"`{group}={o}`", _about(file)] for o, file in option_files(group).items()]
    parts = [f"## {group}\n", _rows(["option", "what it is"], options)]
    parts += [_table(group)] if settings_of(group) else []
    return "\n".join(parts + ([_REFUSED, _refused()] if group == "trainer" else []))


def _refused() -> str:
    reasons = [[f"`trainer.{name}`", reason] for name, reason in REFUSED.items()]
    return _rows(["argument", "why it is refused"], reasons)


def _about(file: Path) -> str:
    """The class that an option names, and what the file or the class says of it."""
    text = file.read_text()
    comments = re.findall(r"^# (?!@)(.*)$", text, re.MULTILINE)
    for line in map(LINE.match, text.splitlines()):
        if line and line["name"] == "_target_":
            module, _, name = line["value"].rpartition(".")
            described = (getattr(import_module(module), name).__doc__ or "").partition("\n")[0]
            return f"`{line['value']}`: {line['comment'] or described}"
    return comments[0] if comments else ""


def _table(group: str) -> str:
    rules = {name: field.description or "" for name, field in settings()}
    for file in option_files(group).values() if group in TORCH_FREE else ():
        target = re.search(r"^_target_: *(\S+)", file.read_text(), re.MULTILINE)
        fields = settings(ranges_of(pkgutil.resolve_name(target[1])), f"{group}.") if target else ()
        rules |= {name: field.description or "" for name, field in fields}
    rows = [
        [f"`{name}`", f"`{default}`", rules.get(name, ""), meaning]
        for name, (default, meaning) in settings_of(group).items()
    ]
    return _rows(["setting", "default", "rule", "meaning"], rows)


def _rows(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
