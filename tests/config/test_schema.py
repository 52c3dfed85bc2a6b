"""Every setting knows its type and range, and says so."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from miner.config.build import CONF_FOLDER
from miner.config.schema import check_config
from miner.support.errors import ConfigError

LISTS = "or a list of them coarse to fine"
WRONG_VALUES = {  # a setting: words of its rule
    "patch_size=0": "2 to 512",
    "patch_size=513": "2 to 512",
    "patch_size=abc": "2 to 512",
    "patch_size=8.5": "2 to 512",
    "patch_size=[8]": "2 to 512",
    "seed=-1": "from 0",
    "seed=9223372036854775808": "2^63 - 1",
    "pyramid.n_levels=0": "1 to 32, or auto",
    "pyramid.n_levels=two": "1 to 32, or auto",
    "activation.a=0": "above 0",
    "activation.omega=-5": "above 0",
    "activation.s=wide": "above 0",
    "encoding.n_frequencies=65": "1 to 64",
    "encoding.scale=0": "above 0",
    "model.width=wide": LISTS,
    "model.width=[20, 0]": LISTS,
    "model.depth=0": "1 to 16",
    "capacity.max_refits=-1": "0 to 8",
    "capacity.max_refits=9": "0 to 8",
    "capacity.max_refits=1.5": "0 to 8",
    "capacity.probe_steps=0": "at least 1",
    "capacity.gain_db=-1": "0 or more",
    "capacity.gain_db=nan": "0 or more",
    "capacity.features_per_db=0": "above 0",
    "capacity.features_per_db=inf": "above 0",
    "capacity.min_width=0": "1 to 1024",
    "capacity.min_width=few": "1 to 1024",
    "capacity.max_width=0": "1 to 1024",
    "capacity.max_width=1025": "1 to 1024",
    "capacity.parameters_per_pixel=0": "above 0",
    "capacity.parameters_per_pixel=few": "above 0",
    "capacity._target_=5": "must name a class",
    "backend._target_=5": "must name a class",
    "readout.ridge=-1": "above 0",
    "readout.frequency=0": "above 0",
    "weights.gain=0": "above 0",
    "weights.max_generations=-1": "0 to 16",
    "optimizer.lr=fast": "above 0",
    "optimizer.lr=nan": "above 0",
    "schedule.final_ratio=2": "at most 1",
    "schedule.decay=0": "above 0",
    "loss.floor=0": "above 0",
    "pruning.every_n_steps=0": "at least 1",
    "pruning.min_change=0": "above 0",
    "fitting.max_mse=0": "above 0",
    "fitting.max_mse=nan": "above 0",
    "fitting.max_mse=[0.5]": "above 0",
    "fitting.coarse_ratio=0.99": "at least 1",
    "fitting.coarse_ratio=nan": "at least 1",
    "fitting.coarse_ratio=inf": "at least 1",
    "fitting.coarse_ratio=much": "at least 1",
    "fitting.max_steps=[3, 0]": LISTS,
    "fitting.max_steps=[]": LISTS,
    "fitting.batch_pixels=some": "or all",
    "fitting.blocks_per_shard=0": "at least 1",
    "fitting.max_memory_gib=0": "above 0",
    "image.max_pixels=0": "at least 1",
    "trainer.devices=0": "from 1 to 1024",
    "trainer.devices=auto": "from 1 to 1024",
    "trainer.num_nodes=0": "from 1 to 65536",
    "trainer.strategy=fsdp": "choose with trainer=ddp",
    "trainer.accelerator=tpu": "auto, cpu or cuda",
    "trainer.profiler=slow": "null, simple or advanced",
    "trainer.max_epochs=2": "no such setting",
    "model.depht=2": "no such setting",
    "extra=1": "no such setting",
    "fitting.max_mse=inf": "above 0",
    "fitting.max_memory_gib=inf": "above 0",
    "optimizer.lr=inf": "above 0",
    "readout.ridge=inf": "above 0",
}


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF_FOLDER)):
        return compose("config")


@pytest.mark.parametrize(
    ("setting", "rule"),
    WRONG_VALUES.items(),
)
def test_wrong_value_is_refused_with_its_rule(
    composed: DictConfig, setting: str, rule: str
) -> None:
    (override,) = OverridesParser.create().parse_overrides([setting])
    config = composed.copy()
    OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert str(caught.value).startswith(f"{setting}: ")
    assert rule in str(caught.value) and "\n" not in str(caught.value)
