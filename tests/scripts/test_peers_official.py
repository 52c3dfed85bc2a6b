"""The network of `scripts/peers_official.py` that stands for the notebooks of Fourier features."""

from functools import partial
from pathlib import Path

import torch
from omegaconf import OmegaConf
from peers_official import Notebook, ours, same_start

from miner.config.build import CONF_FOLDER


def test_the_network_of_the_notebooks_is_ours() -> None:
    settings = OmegaConf.load(CONF_FOLDER / "method" / "fourier_features.yaml")
    official, xy = partial(Notebook, Path(), 8), torch.rand(20, 2) * 2 - 1
    own = same_start(partial(ours, settings, 8), official)
    torch.manual_seed(0)
    torch.testing.assert_close(own(xy), official()(xy))
