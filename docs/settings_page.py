"""Write the page of all settings from `conf/` and the schema. A hook of mkdocs."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from miner.config.build import CONF_FOLDER
from miner.config.schema import RunConfig

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_LINE = re.compile(r"^(?P<indent> *)(?P<name>\w+): *(?P<value>[^#]*?)(?: *# (?P<comment>.*))?$")
_HEAD = """# Settings

`group=option` chooses a part, `group.setting=value` sets a number of it. The defaults are shown;
the first option of a group is its default. `python -m miner.run --help` prints the same in a
terminal, and `--cfg job` shows the configuration of a command without running it.
"""


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "reference/settings.md", content=settings_page()))
    return files


def settings_page() -> str:
    """The page, in Markdown."""
    groups = dict(_default_options())
    sections = [_HEAD, "## Top level\n\n" + _table(_settings(CONF_FOLDER / "config.yaml", ""))]
    sections += [_section(group, default) for group, default in groups.items()]
    return "\n".join(sections)


def _default_options() -> Iterator[tuple[str, str | None]]:
    """Groups in the order of `config.yaml`, each with the name of its default option."""
    defaults: list[Any] = yaml.safe_load((CONF_FOLDER / "config.yaml").read_text())["defaults"]
    for entry in defaults:
        if isinstance(entry, dict):
            ((group, option),) = entry.items()
            if "hydra" not in group:
                yield group, option[0] if isinstance(option, list) else option


def _section(group: str, default: str | None) -> str:
    files = sorted((CONF_FOLDER / group).rglob("*.yaml"), key=lambda file: file.stem != default)
    options = [
        [f"`{group}={file.relative_to(CONF_FOLDER / group).with_suffix('')}`", _about(file)]
        for file in files
    ]
    settings: dict[str, list[str]] = {}
    for file in files if group != "experiment" else []:
        for row in _settings(file, group):
            settings.setdefault(row[0], row)
    parts = [f"## {group}\n", _rows(["option", "what it is"], options)]
    return "\n".join([*parts, _table(list(settings.values()))] if settings else parts)


def _about(file: Path) -> str:
    """The class that an option names, and what the file or the class says of it."""
    text = file.read_text()
    comments = re.findall(r"^# (?!@)(.*)$", text, re.MULTILINE)
    for line in map(_LINE.match, text.splitlines()):
        if line and line["name"] == "_target_":
            module, _, name = line["value"].rpartition(".")
            described = (getattr(import_module(module), name).__doc__ or "").partition("\n")[0]
            return f"`{line['value']}`: {line['comment'] or described}"
    return comments[0] if comments else ""


def _settings(file: Path, group: str) -> list[list[str]]:
    """Name, default, rule and comment of each setting of a file of the configuration."""
    rows = []
    parents: list[str] = [group] if group else []
    for line in file.read_text().splitlines():
        found = _LINE.match(line)
        if found is None or found["name"].startswith("_"):
            continue
        depth = len(found["indent"]) // 2 + bool(group)
        path = [*parents[:depth], found["name"]]
        parents = path
        if path[0] in ("defaults", "hydra") or not found["value"]:
            continue
        rule = _rule(path)
        rows.append([f"`{'.'.join(path)}`", f"`{found['value']}`", rule, found["comment"] or ""])
    return rows


def _rule(path: list[str]) -> str:
    """What the schema demands of the setting at a path."""
    model: Any = RunConfig
    rule = ""
    for name in path:
        fields = getattr(model, "model_fields", {})
        if name not in fields:
            return rule
        rule, model = fields[name].description or "", fields[name].annotation
    return rule


def _table(rows: list[list[str]]) -> str:
    return _rows(["setting", "default", "rule", "meaning"], rows)


def _rows(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)
