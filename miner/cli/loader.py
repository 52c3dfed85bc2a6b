"""Hydra's loader of configurations, which composes once what the jobs of a sweep share."""

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig


class SweepLoader(ConfigLoaderImpl):
    """Composes once for each choice of options, which takes long, and sets values in a copy."""

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        """Take the search path of another loader."""
        super().__init__(loader.get_search_path())
        self._groups = set(self.list_groups(""))
        self._composed: dict[tuple[Any, ...], DictConfig] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave the configurations out for the processes of other launchers."""
        return self.__dict__ | {"_composed": {}}

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        *more: Any,
        **named: Any,
    ) -> DictConfig:
        """What Hydra's loader gives."""
        parsed = OverridesParser.create(self).parse_overrides(overrides)
        values = [one for one in parsed if self._only_sets_a_value(one)]
        chosen = [str(one.input_line) for one in parsed if one not in values]
        key = (config_name, run_mode, *chosen)
        if key not in self._composed:
            loaded = super().load_configuration(config_name, chosen, run_mode, *more, **named)
            self._composed[key] = loaded
        config = self._composed[key].copy()
        try:
            self._apply_overrides_to_config(values, config)
        except ConfigCompositionException:  # wrong, or of a group in hydra.searchpath: Hydra knows
            return super().load_configuration(config_name, overrides, run_mode)
        job: Any = config.hydra.job
        noted = [one for one in parsed if not one.is_hydra_override()]
        config.hydra.overrides.task = [one.input_line for one in noted]
        job.override_dirname = get_overrides_dirname(noted, **job.config.override_dirname)
        return config

    def _only_sets_a_value(self, override: Override) -> bool:
        key = override.key_or_group
        if override.is_sweep_override() or override.is_hydra_override() or "/" in key:
            return False
        is_group = key in self._groups and not isinstance(override.value(), dict)
        return not is_group and override.package is None


def compose_once() -> None:
    """Let Hydra, which is running, use a `SweepLoader`, the last one while no file has changed."""
    running: Any = GlobalHydra.instance().hydra
    path = running.config_loader.get_search_path()
    places = [one.path.partition("file://") for one in path.get_path()]
    files = (file for _, _, folder in places if folder for file in Path(folder).rglob("*"))
    written = tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files))
    running.config_loader = _loader(str(path), written)


@lru_cache(maxsize=1)
def _loader(path: str, written: tuple[tuple[str, int], ...]) -> SweepLoader:
    return SweepLoader(cast(Any, GlobalHydra.instance().hydra).config_loader)
