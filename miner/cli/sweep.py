"""The jobs of a sweep, composed before any of them starts."""

from collections.abc import Iterator, Sequence
from itertools import product

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from miner.support.errors import ConfigError


class JobGrid:
    """Every combination of some overrides, in the order of Hydra's basic sweeper.

    A key that is given twice has the values that were given last.
    """

    def __init__(self, config_name: str, overrides: Sequence[str]) -> None:
        """Parse overrides such as `seed=0,1`; intervals are left to the sweeper that knows them.

        Raises:
            ConfigError: an override that Hydra cannot read.
        """
        self._config_name = config_name
        self._loader = GlobalHydra.instance().config_loader()
        self._groups = set(self._loader.list_groups(""))
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self.choices: dict[str, list[str]] = {}
        self.intervals: list[str] = []
        for override in self._parse(overrides):
            key = override.get_key_element()
            if override.is_interval_sweep():
                self.choices.pop(key, None)
                self.intervals.append(str(override.input_line))
            elif override.is_sweep_override():
                self.choices[key] = [f"{key}={v}" for v in override.sweep_string_iterator()]
            else:
                self.choices[key] = [str(override.input_line)]

    def jobs(self) -> Iterator[tuple[list[str], DictConfig]]:
        """Every job's overrides and configuration.

        Raises:
            ConfigError: one that cannot be composed.
        """
        for combination in product(*self.choices.values()):
            yield list(combination), self._compose(combination)

    def single_changes(self) -> Iterator[tuple[list[str], DictConfig]]:
        """The first job, and each value once in its place: a search may go anywhere between."""
        first = [values[0] for values in self.choices.values()]
        yield first, self._compose(first)
        for index, values in enumerate(self.choices.values()):
            for value in values[1:]:
                changed = [*first[:index], value, *first[index + 1 :]]
                yield changed, self._compose(changed)

    def _parse(self, overrides: Sequence[str]) -> list[Override]:
        try:
            return OverridesParser.create(self._loader).parse_overrides(list(overrides))
        except HydraException as error:
            raise ConfigError(_one_line(error)) from error

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        """Compose once for each choice of options, which takes long, and set values in a copy."""
        parsed = self._parse(overrides)
        chosen, values = self._split(parsed)
        try:
            if chosen not in self._composed:
                self._composed[chosen] = compose(self._config_name, list(chosen))
            config = self._composed[chosen].copy()
            for override in values:
                OmegaConf.update(config, override.key_or_group, override.value())
            return config
        except (HydraException, OmegaConfBaseException, ValueError):
            return self._explain(overrides)

    def _split(self, parsed: Sequence[Override]) -> tuple[tuple[str, ...], list[Override]]:
        """What has to be composed, and the values to set after it.

        Overrides count in their order: what stands before a `+`, `++` or `~` is composed with it.
        """
        others = [n for n, one in enumerate(parsed) if one.type != OverrideType.CHANGE]
        first = others[-1] if others else 0
        values = [one for one in parsed[first:] if self._only_sets_a_value(one)]
        return tuple(str(one.input_line) for one in parsed if one not in values), values

    def _only_sets_a_value(self, override: Override) -> bool:
        is_plain = override.type == OverrideType.CHANGE and override.package is None
        key = override.key_or_group
        return is_plain and key not in self._groups and "/" not in key and key[:6] != "hydra."

    def _explain(self, overrides: Sequence[str]) -> DictConfig:
        """Let Hydra compose it all, for its own words about what is wrong."""
        try:
            return compose(self._config_name, list(overrides))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise ConfigError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).partition("Config search path")[0].split())
