"""The product of a fit: every level's active blocks, rendered at any level and in any region."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike
from torch import Tensor

from miner.representation import output, points
from miner.representation.files import Track, write_image
from miner.representation.rendering import ShardIndex, box_of, device_of, level_image
from miner.representation.shard import Shard
from miner.representation.spec import Spec
from miner.signals.regions import Region, shifted, sides_of, whole
from miner.signals.signal import CPU, ReadRegion, Signal, SourceSignal

if TYPE_CHECKING:
    from miner.representation.module import RepresentationModule

_MAX_VALUES = 2**32  # 16 GiB


class Representation:
    """A pyramid of block networks: a spec and the shards of each level.

    It renders with the coarse levels alone: a level without shards is its prediction. To NumPy it
    is the array that `render` gives, `(C, *S)`; `rep[:, 10:20, ::2]` renders no more than it needs.
    `report` is that of the run, as in its `report.json`, or None; `fit` is that of its manifest.
    Levels that are `known` are read, and finer networks not evaluated for them.
    """

    def __init__(
        self,
        spec: Spec,
        shards: Mapping[int, Sequence[Shard]],
        report: Mapping[str, Any] | None = None,
        fit: Mapping[str, Any] | None = None,
        known: Mapping[int, ReadRegion] | None = None,
    ) -> None:
        self.spec, self.report, self.fit, self.known = spec, report, fit or {}, known or {}
        self.shards = {level: tuple(found) for level, found in shards.items()}
        levels = range(spec.n_levels)
        self._index = [ShardIndex(spec.grid(j), self.shards.get(j, ())) for j in levels]

    @property
    def shape(self) -> tuple[int, ...]:
        """`(C, *S)` of the image."""
        return self.spec.n_channels, *self.spec.sides

    @property
    def psnr_db(self) -> float | None:
        """PSNR over the fitted image; None without a report, or where it is infinite there."""
        return None if self.report is None else self.report.get("psnr_db")

    @property
    def n_parameters(self) -> int:
        """Stored numbers of all block networks."""
        return sum(n * self.spec.model(*kind).n_parameters for kind, n in self._n_blocks.items())

    @property
    def bits_per_pixel(self) -> float:
        """Bits of all networks' numbers and the mask over pixels; files have headers, too."""
        n_bytes = self.spec.mask.n_bytes if self.spec.mask else 0
        for kind, n_blocks in self._n_blocks.items():
            layout = self.spec.storage.layout(self.spec.model(*kind).shapes()).values()
            n_bytes += n_blocks * sum(dtype.itemsize * math.prod(shape) for dtype, shape in layout)
        return 8 * n_bytes / math.prod(self.spec.sides)

    @property
    def _n_blocks(self) -> Counter[tuple[int, int]]:
        """How many blocks each level and width has."""
        kinds = ((level, shard.widths) for level, found in self.shards.items() for shard in found)
        return Counter((level, width) for level, widths in kinds for width in widths.tolist())

    __repr__ = output.describe
    _repr_png_ = output.picture  # as notebooks ask for it
    _repr_html_ = output.html
    __getitem__ = output.part

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("copy=False: the array has to be rendered; use np.asarray")
        return np.asarray(self.render(), dtype)

    def active_blocks(self, level: int) -> Tensor:
        """Numbers of the blocks of a level that have a network, ascending."""
        found = (shard.blocks for shard in self.shards.get(level, ()))
        return torch.cat([torch.empty(0, dtype=torch.long), *found]).sort().values

    def render(
        self,
        level: int = 0,
        region: Region | None = None,
        device: str | torch.device = CPU,
        *,
        scale: float | None = None,
        size: Sequence[int] | None = None,
        out: np.ndarray | str | Path | None = None,
        track: Track = iter,
    ) -> Any:
        """The image at a level: `(C, *S)` float32, clipped to the range of the data.

        8- and 16-bit integers are divided by 255 and 65535; all others have the source's values.
        `region` is ((first, end), ...) in that level's pixels, rows first; None is the whole level.
        A `scale` above 0, or a `size` such as (height, width), evaluates the networks at the
        centres of other pixels. Nothing is averaged: to shrink, choose a coarser level first. `out`
        is an array to fill tile by tile, or a file to write in the format of the source, replaced
        unless it is the fitted image or a run's own. Pixels that were masked are NaN, and in files
        have the source's no-data value. Raises `ValueError` for what is not possible.
        """
        format, box = self.spec.pixel_format, box_of(self.spec, level, region)
        sides = output.size_of(sides_of(box), scale, size)
        image = self.image(level, box, device, sides)
        valid = points.valid_pixels(self.spec, level, box, sides)
        if isinstance(out, str | Path):
            output.check_out(Path(out), self)
            own = replace(format, metadata=format.metadata.at(box, sides, level))
            return write_image(Path(out), image, own, track, valid)
        image = points.masked_image(image, valid)
        if out is None and scale is None and size is None:
            return format.to_values(image.read(whole(sides))).cpu().numpy()
        return output.fill(out, image, format, track)

    def image(
        self,
        level: int = 0,
        region: Region | None = None,
        device: str | torch.device = CPU,
        sides: tuple[int, ...] | None = None,
        is_masked: bool = False,
    ) -> Signal:
        """What `render` gives at a size, unclipped, rendered where it is read."""
        device, box = device_of(device), box_of(self.spec, level, region)
        sides = sides or sides_of(box)

        def read(part: Region) -> Tensor:
            if sides == sides_of(box):
                return self.reconstruct(level, shifted(part, box), device)
            places = torch.cartesian_prod(*points.centres(box, sides, part)).to(device)
            return self._values(level, places).T.reshape(-1, *sides_of(part))

        image = SourceSignal(read, self.spec.n_channels, sides, device)
        valid = points.valid_pixels(self.spec, level, box, sides) if is_masked else None
        return points.masked_image(image, valid)

    def __call__(self, xy: ArrayLike | Tensor, *, clip: bool = True) -> Tensor:
        """Values `(..., C)` at points `(..., D)`, as `render` gives them; unclipped if asked for.

        Points are (x, y) or (x, y, z) in [-1, 1], which is the whole image, as `grid_sample` of
        PyTorch counts with `align_corners=False`; the result is on their device. At the centres
        of pixels in float64 it is what `render` gives, within 1e-5. Between them the block that
        owns a point is evaluated there, and where none is active, the pyramid interpolates the
        coarser level. Gradients are those of this piecewise function. Where a sample of the
        pyramid stands for several pixels (`Pyramid.step`), all points of a pixel have its value.

        Raises `ValueError` for another number of coordinates, or one outside [-1, 1].
        """
        xy = torch.as_tensor(xy)
        places = points.places_of(xy, self.spec.sides)
        found = points.masked_points(self.spec, self._values(0, places), places)
        values = self.spec.pixel_format.to_values(found, clip)
        return values.reshape(*xy.shape[:-1], self.spec.n_channels)

    def at_pixels(self, index: ArrayLike | Tensor) -> Tensor:
        """Values `(..., C)` of pixels `(..., D)`, row first like the indices of an array.

        On one device they have the bits of `render`; the result is on the device of `index`.
        Raises `IndexError` for a number outside the image, negative ones among them, or no number.
        """
        index = torch.as_tensor(index)
        pixels = points.pixels_of(index, self.spec.sides)
        image = self.image(0, device=index.device, is_masked=True)
        found = points.gather(image, pixels)
        values = self.spec.pixel_format.to_values(found)
        return values.reshape(*index.shape[:-1], self.spec.n_channels)

    def reconstruct(
        self, level: int = 0, region: Region | None = None, device: str | torch.device = CPU
    ) -> Tensor:
        """The unclipped reconstruction in a region, `(C, *S)` float32, on the device.

        Raises `ValueError` for no such level, a region outside it, or one too large for an array.
        """
        spec, device, region = self.spec, device_of(device), box_of(self.spec, level, region)
        n_values = spec.n_channels * math.prod(sides_of(region))
        if n_values > _MAX_VALUES:
            rule = f"values are too many for one array, which may have {_MAX_VALUES}"
            remedy = "render a part, or write a file with python -m miner.render"
            raise ValueError(f"region={region}: {n_values} {rule}; {remedy}")
        return level_image(spec, level, self._index, self.known, device).read(region)

    def _values(self, level: int, places: Tensor, finer: int = 0) -> Tensor:
        """Unclipped values `(N, C)` at `places` `(N, D)` in pixels of a level, of a `finer` one."""
        if self.spec.pyramid.step > 1:  # nothing lies between samples: the derivative is zero
            sides = torch.tensor(self.spec.level_sides[level]).to(places.device)
            image = self.image(level, device=places.device)
            pixels = places.detach().long().minimum(sides - 1)
            return points.gather(image, pixels) + 0 * places[:, :1].float()

        def predict(places: Tensor) -> Tensor:
            if self.spec.evaluates_coarser and not self.spec.is_coarsest(level):
                return self._values(level + 1, 0.5 * places, finer + 1)
            shown, device = level + 1, places.device
            if self.spec.evaluates_coarser and level > finer:  # only finer blocks represent them
                shown, places = level - finer, 2 ** (finer + 1) * places
            coarser = self.image(shown, device=device) if shown < self.spec.n_levels else None
            return points.interpolated(self.spec, coarser, places)

        return points.evaluate(self.spec, level, self._index[level], predict, places)

    def score(self, image: ArrayLike | str | Path, *, track: Track = iter) -> dict[str, Any]:
        """PSNR in dB, SSIM, seam ratio and time against an image, by their names in a report.

        An image is a file or `sample:NAME`, of which the part that the run's `image.crop_px` takes
        is compared, or an array or tensor `(C, *S)`, `(*S, C)` or, of one channel, `S`, with the
        values of the source or of `render`. Raises `ValueError` if it has another shape,
        `ImageError` for a file that cannot be read.
        """
        from miner.metrics.scores import score

        target, mask = output.signal_of(self, image)
        scores = score(self.spec.grid(0), target, self.image(), track, mask)
        return scores | self.spec.pixel_format.over_type(scores["psnr_db"])

    def to_module(self) -> "RepresentationModule":
        """A module of PyTorch that renders the same, with decoded parameters that train."""
        from miner.representation.module import RepresentationModule

        return RepresentationModule(self)

    def save(self, folder: str | Path) -> Path:
        """Write shards, mask, overview and the manifest, which has the report, into a folder.

        Those of a representation that was there before are removed. Raises `RepresentationError`
        if there is a manifest that this program cannot read, or another file of a shard's name.
        """
        return output.save(self, Path(folder))
