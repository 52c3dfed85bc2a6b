"""Wrong values and old names are refused with the rule, the new name; groups set other groups."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from miner.cli.sweep import JobGrid, compose_once
from miner.config.build import CONF_FOLDER, build_objective, build_settings
from miner.config.schema import COMPONENTS, check_config
from miner.engine.method import build_method
from miner.models.activations import Activation, Sine
from miner.representation.storage import Float32Storage
from miner.support.components import build, describe
from miner.support.errors import ConfigError
from miner.support.ranges import Positive, whole

LISTS = "or a list of them coarse to fine"
WRONG_VALUES = {  # a setting: words of its rule
    "patch_size=0": "2 to 512",
    "patch_size=abc": "2 to 512",
    "seed=-1": "from 0",
    "seed=9223372036854775808": "2^63 - 1",
    "pyramid.n_levels=two": "1 to 32, or auto",
    "activation.a=0 with activation=sine": "above 0",
    "encoding.n_frequencies=65": "1 to 64",
    "model.width=wide": LISTS,
    "model.width=[20, 0]": LISTS,
    "model.depth=0": "1 to 16",
    "capacity.max_refits=-1": "0 to 8",
    "capacity.max_refits=1.5": "0 to 8",
    "capacity.probe_steps=0": "at least 1",
    "capacity.gain_db=nan": "0 or more",
    "capacity.features_per_db=0": "above 0",
    "capacity.features_per_db=inf": "above 0",
    "capacity.min_width=0": "1 to 1024",
    "capacity.max_width=0": "1 to 1024",
    "capacity.parameters_per_pixel=0 with capacity=budget": "above 0",
    "capacity._target_=5": "must name a class",
    "readout.ridge=-1": "above 0",
    "readout.frequency=0 with readout=learned": "above 0",
    "weights.gain=0 with weights=shared": "above 0",
    "weights.max_generations=-1 with weights=parent_frame": "0 to 16",
    "optimizer.lr=fast": "above 0",
    "schedule.final_ratio=2": "at most 1",
    "schedule.decay=0 with schedule=exponential": "above 0",
    "loss.floor=0": "above 0",
    "pruning.every_n_steps=0": "at least 1",
    "pruning.min_change=0 with pruning=plateau": "above 0",
    "fitting.max_mse=0": "above 0",
    "fitting.max_mse=[0.5]": "above 0",
    "fitting.max_mse=1": "below 1: a mean squared error in the unit range; 50 dB is 1e-5",
    "fitting.max_mse=45": "50 dB is 1e-5",
    "fitting.target_psnr=0": "above 0 dB",
    "fitting.target_psnr=high": "at most 300, or null",
    "level_selection.coarse_ratio=0.99": "at least 1",
    "level_selection.coarse_ratio=inf": "at least 1",
    "fitting.max_steps=[3, 0]": LISTS,
    "fitting.max_steps=[]": LISTS,
    "fitting.batch_pixels=some": "or all",
    "fitting.blocks_per_shard=0": "at least 1",
    "fitting.max_memory_gib=0": "above 0",
    "image.max_pixels=0": "at least 1",
    "trainer.devices=auto": "from 1 to 1024",
    "trainer.num_nodes=0": "from 1 to 65536",
    "trainer.strategy=fsdp": "choose with trainer=ddp",
    "trainer.accelerator=tpu": "auto, cpu or cuda",
    "trainer.profiler=slow": "null, simple or advanced",
    "trainer.max_epochs=2": "an epoch is a level",
    "fitting.max_stpes=2": "no such setting",
    "extra=1": "no such setting",
}


@pytest.fixture(scope="module", autouse=True)
def compose_with() -> Iterator[Callable[..., DictConfig]]:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        compose_once()
        yield cache(lambda *options: compose("config", list(options)))


@pytest.mark.parametrize(("settings", "rule"), WRONG_VALUES.items())
def test_wrong_value_is_refused_with_its_rule(
    compose_with: Callable[..., DictConfig], settings: str, rule: str
) -> None:
    setting, *options = settings.split(" with ")
    (override,) = OverridesParser.create().parse_overrides([setting])
    config = compose_with(*options).copy()
    OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert str(caught.value).startswith(f"{setting}: ")
    assert rule in str(caught.value) and "\n" not in str(caught.value)


@dataclass(frozen=True)
class Steep(Sine):
    """An activation that somebody adds, with a range for one of its fields."""

    power: Annotated[int, whole(1, 4)] = 2
    free: object = None


@dataclass(frozen=True)
class Coarse(Float32Storage):
    """A storage that somebody adds."""

    step: Positive = 1.0


@pytest.mark.parametrize(
    ("group", "cls", "field", "rule"),
    [
        ("activation", Steep, "power", "must be a whole number from 1 to 4"),
        ("activation", Steep, "a", "must be a number above 0"),  # of the base
        ("storage", Coarse, "step", "must be a number above 0"),
    ],
)
def test_class_from_elsewhere_has_ranges_too(
    compose_with: Callable[..., DictConfig], group: str, cls: type, field: str, rule: str
) -> None:
    config = compose_with().copy()
    config[group] = {"_target_": f"{__name__}.{cls.__name__}", field: -1}
    with pytest.raises(ConfigError, match=rf"^{group}\.{field}=-1: {rule}$"):
        build_settings(config)
    assert getattr(cls(**{field: -1}), field) == -1  # whoever calls a class is not checked


def test_field_without_a_range_may_be_anything(compose_with: Callable[..., DictConfig]) -> None:
    config = compose_with().copy()
    config.activation = {"_target_": f"{__name__}.Steep", "free": [1, "two"]}
    assert build_settings(config).model.activation == Steep(free=[1, "two"])


@pytest.mark.parametrize(
    ("option", "change"),
    [
        ("default", {}),
        ("fdr", {"trainer.fast_dev_run": 1}),
        ("limit", {"image.crop_px": 64}),
        ("profiler", {"trainer.profiler": "simple"}),
    ],
)
def test_debugging_takes_few_steps_without_a_logger(option: str, change: dict[str, object]) -> None:
    overrides = ["experiment=fast", f"debug={option}"]
    config = compose("config", overrides, return_hydra_config=True)
    assert (config.fitting.max_steps, config.logger, config.task_name) == (10, {}, "debug")
    assert config.hydra.job_logging.root.level == "DEBUG"
    assert {name: OmegaConf.select(config, name) for name in change} == change


def test_settings_of_the_machine_are_between_an_experiment_and_the_command(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    own = "# @package _global_\npatch_size: 24\nseed: 3\n"
    (tmp_path / "local" / "default.yaml").write_text(own)
    found = f"hydra.searchpath=['file://{tmp_path}']"
    config = compose("config", [found, "experiment=fast", "seed=4"])
    assert (config.patch_size, config.seed) == (24, 4)
    assert compose("config", [found, "~local"]).patch_size == 32


def test_folders_of_runs_and_sweeps_are_below_the_folder_of_all() -> None:
    config = compose("config", ["paths.log_dir=/disk"], return_hydra_config=True)
    assert config.hydra.run.dir.startswith("/disk/")
    assert config.hydra.sweep.dir.startswith("/disk/multirun/")


@dataclass(frozen=True)
class OddlyNamed(Sine):
    """An activation whose fields have names that Pydantic, OmegaConf or Hydra use."""

    target: Positive = 1.0
    copy: Positive = 1.0
    model_dump: Positive = 1.0
    model_config: Positive = 1.0
    items: Positive = 1.0
    config: Positive = 1.0
    field_a: Positive = 1.0
    _hidden: Positive = 1.0


ODD_NAMES = [field.name for field in fields(OddlyNamed) if field.name != "a"]


@pytest.mark.parametrize("field", ODD_NAMES)
def test_a_field_may_have_any_name(compose_with: Callable[..., DictConfig], field: str) -> None:
    config = compose_with().copy()
    config.activation = {"_target_": f"{__name__}.OddlyNamed", field: 2.0}
    built = build_settings(config).model.activation
    assert getattr(built, field) == 2.0
    assert build(Activation, json.loads(json.dumps(describe(built)))) == built  # type: ignore[type-abstract]
    config.activation[field] = -1.0
    with pytest.raises(
        ConfigError, match=rf"^activation\.{field}=-1\.0: must be a number above 0$"
    ):
        build_settings(config)


@dataclass(frozen=True)
class Scaled(Sine):
    """An activation with a field where a method should be."""

    scale: float = 2.0  # type: ignore[assignment]


def test_a_field_instead_of_a_method_is_refused(compose_with: Callable[..., DictConfig]) -> None:
    config = compose_with().copy()
    config.activation = {"_target_": f"{__name__}.Scaled"}
    rule = "miner.models.activations.Activation has a method of this name; give that field another"
    with pytest.raises(ConfigError, match=rf"^activation\.scale: {rule}$"):
        build_settings(config)


class Undecorated(Sine):
    """An activation whose own number would not be stored."""

    def __init__(self, steepness: float = 1.0) -> None:
        super().__init__(steepness)


def test_a_class_that_would_not_be_stored_is_refused(
    compose_with: Callable[..., DictConfig],
) -> None:
    config = compose_with().copy()
    config.activation = {"_target_": f"{__name__}.Undecorated"}
    with pytest.raises(ConfigError, match="has an __init__ of its own; make it a frozen"):
        build_settings(config)


OLD_NAMES = {
    "sizing=by_need": "capacity=target_error",
    "sizing=uniform": "capacity=uniform",
    "sizing.least=4": "capacity.min_width=4",
    "capacity.most=4": "capacity.max_width=4",
    "+sizing.retries=0": "capacity.max_refits",
    "sizing.gain_db=4": "capacity.gain_db=4",
    "capacity=by_need": "capacity=target_error",
    "kernel=fused": "backend=compiled",
    "fitting.chunk_size=8": "fitting.blocks_per_shard=8",
}


@pytest.mark.parametrize(("argument", "new"), OLD_NAMES.items())
def test_old_name_is_refused_with_the_new_one(
    compose_with: Callable[..., DictConfig], argument: str, new: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        for _, config in JobGrid("config", [argument]).jobs():
            check_config(config)
    assert str(caught.value) == f"{argument.lstrip('+')}: is now {new}"


BASES = {
    "pyramid": "miner.pyramids.pyramid.Pyramid",
    "activation": "miner.models.activations.Activation",
    "encoding": "miner.models.encodings.Encoding",
    "model": "miner.models.network.BlockModel",
    "capacity": "miner.fitting.capacity.Capacity",
    "readout": "miner.fitting.readout.Readout",
    "weights": "miner.fitting.initialization.Weights",
    "schedule": "miner.fitting.criteria.Schedule",
    "loss": "miner.fitting.criteria.Loss",
    "pruning": "miner.fitting.criteria.Pruning",
    "level_selection": "miner.fitting.selection.LevelSelection",
    "storage": "miner.representation.storage.Storage",
    "backend": "miner.fitting.backend.Backend",
    "objective": "miner.metrics.objective.Objective",
    "method": "miner.engine.method.Method",
}


@pytest.mark.parametrize("group", COMPONENTS)
def test_a_class_of_another_kind_is_refused_with_the_right_one(
    compose_with: Callable[..., DictConfig], group: str
) -> None:
    config, target = compose_with().copy(), f"{__name__}.Path"
    config[group] = {"_target_": target, "width": 3}
    with pytest.raises(ConfigError) as caught:
        build_settings(config)
        build_objective(config)
        build_method(config)
    assert str(caught.value) == f"{group}._target_={target}: must be a subclass of {BASES[group]}"
