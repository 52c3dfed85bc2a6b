"""Old names of settings are refused with the new ones."""

from typing import Any

import numpy as np
import pytest

import miner
from miner.cli.arguments import refuse_arguments
from miner.support.errors import ConfigError


@pytest.mark.parametrize(
    ("argument", "new"),
    [
        ("sizing=by_need", "capacity=target_error"),
        ("sizing=by_need,by_budget", "capacity=target_error,budget"),
        ("sizing=uniform", "capacity=uniform"),
        ("sizing.least=4", "capacity.min_width=4"),
        ("capacity.most=4,5", "capacity.max_width=4,5"),
        ("+sizing.retries=0", "capacity.max_refits=0"),
        ("sizing.pilot_steps=9", "capacity.probe_steps=9"),
        ("sizing.gain_db=4", "capacity.gain_db=4"),
        ("capacity=by_need", "capacity=target_error"),
        ("kernel=fused", "backend=compiled"),
        ("kernel=eager", "backend=eager"),
        ("fitting.pixels_per_step=all", "fitting.batch_pixels=all"),
        ("fitting.chunk_size=8", "fitting.blocks_per_shard=8"),
    ],
)
def test_old_name_is_refused_with_the_new_one(argument: str, new: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_arguments(["-m", argument])
    assert str(caught.value) == f"{argument.lstrip('+')}: is now {new}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizing": "by_need"}, "sizing=by_need: is now capacity=target_error"),
        ({"sizing": {"least": 4}}, "sizing.least=4: is now capacity.min_width=4"),
        ({"fitting": {"chunk_size": 8}}, "fitting.chunk_size=8: is now fitting.blocks_per_shard=8"),
        ({"fitting.chunk_size": 8}, "fitting.chunk_size=8: is now fitting.blocks_per_shard=8"),
    ],
    ids=str,
)
def test_miner_fit_refuses_an_old_name_too(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        miner.fit(np.zeros((9, 9)), **settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "argument", ["capacity=uniform,budget", "backend=eager", "fitting.max_steps=[3,4]", "seed=0,1"]
)
def test_other_names_are_not_refused(argument: str) -> None:
    refuse_arguments([argument])
