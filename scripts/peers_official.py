"""Networks of miner/peers beside their authors' code: PSNR over the same steps, as rows.

python scripts/peers_official.py FOLDER [METHOD...] [--steps 300] [--width 64] [--seeds 3]

FOLDER holds checkouts of `REPOSITORIES`, each under its own name. Both are fitted to a crop of a
photograph with the settings of conf/method at a constant rate, into results/peers_official.tsv;
`difference_db` is the largest of any step between the curves of PSNR, each a mean over the seeds.
"""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import skimage.data
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rows import ROOT, append_row, provenance
from torch import Tensor, nn

from miner.peers.grids import HashGrid
from miner.peers.network import PeerNetwork

RESULTS = ROOT / "results" / "peers_official.tsv"
SIDE = 128  # pixels
HASH = {"n_levels": 8, "finest": 0.5}  # all levels are hashed, as the checkout does in any case
REPOSITORIES = {
    "fourier_features": "tancik/fourier-feature-networks",
    "siren": "vsitzmann/siren",
    "gauss": "vishwa91/wire",
    "wire": "vishwa91/wire",
    "finer": "liuzhen0212/FINER",
    "mfn": "boschresearch/multiplicative-filter-networks",
    "hash_grid": "yashbhalgat/HashNeRF-pytorch",
}


def main() -> None:
    """Fit what the command line names, and add a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("methods", nargs="*", default=list(REPOSITORIES))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    words = ["FOLDER" if word == str(options.folder) else word for word in sys.argv[1:]]
    origin = provenance(" ".join(["python scripts/peers_official.py", *words]))
    for method in options.methods:
        repository = REPOSITORIES[method]
        checkout = options.folder / repository.partition("/")[2]
        settings: Any = OmegaConf.load(ROOT / "conf" / "method" / f"{method}.yaml")
        builders = own(method, settings, options.width), official(method, checkout, options.width)
        ours, theirs = (
            torch.stack([curve(b, settings, s, options.steps) for s in range(options.seeds)]).mean(
                0
            )
            for b in builders
        )
        row = {
            "method": method,
            "steps": options.steps,
            "ours_db": ours[-1].item(),
            "official_db": theirs[-1].item(),
            "difference_db": (ours - theirs).abs().max().item(),
            "seeds": options.seeds,
            "repository": f"{repository}@{commit(checkout)}",
        }
        append_row(RESULTS, row | origin)
        print(*row.values(), flush=True)


def curve(build: Callable[[], Any], settings: Any, seed: int, steps: int) -> Tensor:
    """PSNR before each step of Adam on all pixels, in dB."""
    torch.manual_seed(seed)
    network, value_range = build()
    top = (512 - SIDE) // 2
    image = torch.tensor(skimage.data.astronaut()[top : top + SIDE, top : top + SIDE] / 255)
    low, high = value_range
    target = image.float().reshape(-1, 3) * (high - low) + low
    axis = torch.linspace(-1, 1, SIDE)
    xy = torch.cartesian_prod(axis, axis)
    own_keys = {key: settings[key] for key in ("betas", "eps") if key in settings}
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, **own_keys)
    errors = []
    for _ in range(steps):
        error = (network(xy) - target).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.detach() / (high - low) ** 2)
    return -10 * torch.stack(errors).log10()


def own(method: str, settings: Any, width: int) -> Callable[[], Any]:
    """Builds our network, and gives its range of values."""
    partial = instantiate(settings.network)

    def build() -> tuple[nn.Module, tuple[float, float]]:
        if method == "hash_grid":
            return Volume(HashGrid((SIDE, SIDE, SIDE), 3, 2**12, **HASH)), HashGrid.value_range
        network: PeerNetwork = partial((SIDE, SIDE), 3, width)
        return network, network.value_range

    return build


def official(method: str, checkout: Path, width: int) -> Callable[[], Any]:
    """Builds the authors' network with the same settings, and gives their range of values."""
    signed, unit = (-1.0, 1.0), (0.0, 1.0)
    if method == "siren":
        parent = ModuleType("torchmeta")  # whose own __init__ imports libraries that are not needed
        parent.__path__ = [str(checkout / "torchmeta")]
        with mock.patch.dict(sys.modules, {"torchmeta": parent}):
            siren = load(checkout / "modules.py")
        return lambda: (siren.FCBlock(2, 3, 3, width, True, "sine"), signed)
    if method == "gauss":
        gauss = load(checkout / "modules" / "gauss.py")
        return lambda: (gauss.INR(2, width, 2, 3, scale=30.0), unit)
    if method == "wire":
        wire = load(checkout / "modules" / "wire.py")
        features = int(width * 2**0.5) + 1  # of which it takes `width`
        rates = {"first_omega_0": 20.0, "hidden_omega_0": 20.0, "scale": 30.0}
        return lambda: (wire.INR(2, features, 2, 3, **rates), unit)
    if method == "finer":
        finer = load(checkout / "models.py")
        return lambda: (finer.Finer(2, width, 3, 3), signed)
    if method == "mfn":
        mfn = load(checkout / "mfn" / "mfn.py")
        return lambda: (mfn.GaborNet(2, width, 3), signed)
    if method == "hash_grid":
        return lambda: (Volume(HashNerf(checkout)), unit)
    return lambda: (Notebook(width), unit)


def load(path: Path) -> Any:
    """A module of a checkout, by its file."""
    spec = spec_from_file_location(f"official_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commit(checkout: Path) -> str:
    """The commit of a checkout."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short=10", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class Volume(nn.Module):
    """The slice z = 0 of a network of volumes: the checkout has no other."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, xy: Tensor) -> Tensor:
        """Values at `(P, 2)`."""
        values: Tensor = self.network(torch.cat([xy, torch.zeros_like(xy[:, :1])], dim=1))
        return values


class HashNerf(nn.Module):
    """The checkout's encoding before a network as of instant-ngp."""

    def __init__(self, checkout: Path) -> None:
        super().__init__()
        tensor = torch.tensor
        with contextlib.ExitStack() as stack:  # it needs no GPU but for a constant
            stack.enter_context(mock.patch.dict(sys.modules, {"ray_utils": mock.MagicMock()}))
            stack.enter_context(mock.patch("torch.tensor", lambda x, device=None: tensor(x)))
            stack.enter_context(
                mock.patch.dict(sys.modules, {"utils": load(checkout / "utils.py")})
            )
            encoding = load(checkout / "hash_encoding.py").HashEmbedder
        bounds = -torch.ones(3), torch.ones(3)
        self.encoding = encoding(bounds, HASH["n_levels"], 2, 12, 16, int(HASH["finest"] * SIDE))
        shapes = ((64, 16), (64, 64), (3, 64))
        self.weights = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(s)) for s in shapes)

    def forward(self, xyz: Tensor) -> Tensor:
        """Values at `(P, 3)`."""
        first, second, last = self.weights
        x = self.encoding(xyz)[0] @ first.T
        return (x.relu() @ second.T).relu() @ last.T


class Notebook(nn.Module):
    """The notebooks' network in PyTorch: they are in JAX, so this repeats formulas, not code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.waves = 10.0 * torch.randn(256, 2)
        layers: list[nn.Module] = []
        for n, m in ((512, width), (width, width), (width, width), (width, 3)):
            linear = nn.Linear(n, m)
            draws = torch.randn(4 * n * m)
            kept = draws[draws.abs() < 2][: n * m].reshape(m, n)  # truncated at two deviations
            linear.weight.data = kept / kept.std() * (2 / (n + m)) ** 0.5
            linear.bias.data.normal_(0, 0.01)
            layers += [linear, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1], nn.Sigmoid())

    def forward(self, xy: Tensor) -> Tensor:
        """Values at `(P, 2)`, whose unit square begins at 0."""
        phases = 2 * torch.pi * ((xy + 1) / 2) @ self.waves.T
        values: Tensor = self.layers(torch.cat([phases.sin(), phases.cos()], dim=-1))
        return values


if __name__ == "__main__":
    main()
