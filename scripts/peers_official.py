"""Networks of miner/peers beside their authors' code: PSNR over the same steps, as rows.

python scripts/peers_official.py FOLDER [METHOD...] [--steps 300] [--width 64] [--seeds 3]

FOLDER holds checkouts of the repositories in `OFFICIAL`, each under its own name. Both are fitted
to a crop of a photograph with the settings of conf/method at a constant rate, into
results/peers_official.tsv; `difference_db` is the largest of any step between the curves of PSNR,
each a mean over the seeds, and `same_start_db` that of the first seed where ours begins with the
numbers that the authors' code has drawn.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import skimage.data
import torch
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf
from rows import ROOT, append_row, provenance
from torch import Tensor, nn

from miner.peers.grids import HashGrid

RESULTS = ROOT / "results" / "peers_official.tsv"
SIDE = 128  # pixels
N_LEVELS, N_ROWS = 8, 2**12  # all levels are hashed, as the checkout does in any case
Build = Callable[[], nn.Module]


def main() -> None:
    """Fit what the command line names, and add a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("methods", nargs="*", default=list(OFFICIAL))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    words = ["FOLDER" if word == str(options.folder) else word for word in sys.argv[1:]]
    origin = provenance(" ".join(["python scripts/peers_official.py", *words]))
    for method in options.methods:
        repository, official = OFFICIAL[method]
        checkout = options.folder / repository.partition("/")[2]
        settings: Any = OmegaConf.load(ROOT / "conf" / "method" / f"{method}.yaml")
        builds = partial(ours, settings, options.width), partial(official, checkout, options.width)
        seeds = range(options.seeds)
        own, other = (
            torch.stack([curve(build, settings, seed, options.steps) for seed in seeds])
            for build in builds
        )
        same = curve(partial(same_start, *builds), settings, 0, options.steps)
        row = {
            "method": method,
            "steps": options.steps,
            "ours_db": own[:, -1].mean().item(),
            "official_db": other[:, -1].mean().item(),
            "difference_db": (own.mean(0) - other.mean(0)).abs().max().item(),
            "same_start_db": (same - other[0]).abs().max().item(),
            "seeds": options.seeds,
            "repository": f"{repository}@{commit(checkout)}",
        }
        append_row(RESULTS, row | origin)
        print(*row.values(), flush=True)


def curve(build: Build, settings: Any, seed: int, steps: int) -> Tensor:
    """PSNR before each step of Adam on all pixels, in dB."""
    torch.manual_seed(seed)
    network = build()
    network_class: Any = get_class(settings.network._target_)
    low, high = network_class.value_range
    top = (512 - SIDE) // 2
    image = torch.tensor(skimage.data.astronaut()[top : top + SIDE, top : top + SIDE] / 255)
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


def ours(settings: Any, width: int) -> nn.Module:
    """The network of a method's settings."""
    if settings.network._target_.endswith("HashGrid"):
        return Volume(HashGrid((SIDE, SIDE, SIDE), 3, N_ROWS, n_levels=N_LEVELS))
    network: nn.Module = instantiate(settings.network)((SIDE, SIDE), 3, width)
    return network


def same_start(own: Build, other: Build) -> nn.Module:
    """Our network, with what the authors' one has drawn."""
    torch.manual_seed(0)
    start = torch.cat([tensor.flatten() for tensor in numbers(other())])
    torch.manual_seed(0)
    network = own()
    targets = numbers(network)
    for target, values in zip(targets, start.split([t.numel() for t in targets]), strict=True):
        target.copy_(values.view_as(target))
    return network


def numbers(network: nn.Module) -> list[Tensor]:
    """Real views of all that a network has drawn."""
    trained = [p.detach() for p in network.parameters() if p.requires_grad]
    drawn = [*trained, *network.buffers()]
    return [torch.view_as_real(t) if t.is_complex() else t for t in drawn]


def siren(checkout: Path, width: int) -> Any:
    """The sines of the authors, 3 layers of them beside the first."""
    parent = ModuleType("torchmeta")  # whose own __init__ imports libraries that are not needed
    parent.__path__ = [str(checkout / "torchmeta")]
    with mock.patch.dict(sys.modules, {"torchmeta": parent}):
        return load(checkout / "modules.py").FCBlock(2, 3, 3, width, True, "sine")


def gauss(checkout: Path, width: int) -> Any:
    """The Gaussians of WIRE's authors, 2 layers of them beside the first."""
    return load(checkout / "modules" / "gauss.py").INR(2, width, 2, 3, scale=30.0)


def wire(checkout: Path, width: int) -> Any:
    """The wavelets of the authors, who divide a width by sqrt(2)."""
    rates = {"first_omega_0": 20.0, "hidden_omega_0": 20.0, "scale": 30.0}
    return load(checkout / "modules" / "wire.py").INR(2, int(width * 2**0.5) + 1, 2, 3, **rates)


def finer(checkout: Path, width: int) -> Any:
    """The authors' network, with 3 layers beside the first."""
    return load(checkout / "models.py").Finer(2, width, 3, 3)


def mfn(checkout: Path, width: int) -> Any:
    """The authors' network, with 4 filters."""
    return load(checkout / "mfn" / "mfn.py").GaborNet(2, width, 3)


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


class HashNeRF(nn.Module):
    """The checkout's encoding before a network as of instant-ngp."""

    def __init__(self, checkout: Path) -> None:
        super().__init__()
        tensor = torch.tensor
        with mock.patch.dict(sys.modules, {"ray_utils": mock.MagicMock()}):  # needs kornia
            with mock.patch("torch.tensor", lambda x, device=None: tensor(x)):  # a GPU
                sys.modules["utils"] = load(checkout / "utils.py")
            encoder = load(checkout / "hash_encoding.py").HashEmbedder
        box = -torch.ones(3), torch.ones(3)
        self.encoding = encoder(box, N_LEVELS, 2, N_ROWS.bit_length() - 1, 16, SIDE // 2)
        shapes = ((64, 16), (64, 64), (3, 64))
        self.weights = nn.ParameterList(nn.init.xavier_uniform_(torch.empty(s)) for s in shapes)

    def forward(self, xyz: Tensor) -> Tensor:
        """Values at `(P, 3)`."""
        first, second, last = self.weights
        x = self.encoding(xyz)[0] @ first.T
        values: Tensor = (x.relu() @ second.T).relu() @ last.T
        return values


class Notebook(nn.Module):
    """The notebooks' network in PyTorch: they are in JAX, so this repeats formulas, not code."""

    def __init__(self, _: Path, width: int) -> None:
        super().__init__()
        self.waves: Tensor
        self.register_buffer("waves", 10.0 * torch.randn(width, 2))
        layers: list[nn.Module] = []
        for n, m in ((2 * width, width), (width, width), (width, width), (width, 3)):
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


def hash_nerf(checkout: Path, width: int) -> Any:
    """The checkout's encoding at points of a plane."""
    return Volume(HashNeRF(checkout))


OFFICIAL: dict[str, tuple[str, Callable[[Path, int], Any]]] = {
    "fourier_features": ("tancik/fourier-feature-networks", Notebook),
    "siren": ("vsitzmann/siren", siren),
    "gauss": ("vishwa91/wire", gauss),
    "wire": ("vishwa91/wire", wire),
    "finer": ("liuzhen0212/FINER", finer),
    "mfn": ("boschresearch/multiplicative-filter-networks", mfn),
    "hash_grid": ("yashbhalgat/HashNeRF-pytorch", hash_nerf),
}

if __name__ == "__main__":
    main()
