"""What the axes of an array are: said by the caller or by the file, else found, or refused."""

from collections.abc import Sequence

from miner.support.errors import ImageError

_SPATIAL, _UNUSED = "DHW", "_"
_MAX_CHANNELS = 4  # so many at one end of three axes are channels, if the other end is longer
_UNNAMED = ("q", "i", "?", "none", "")  # the first two are tifffile's
_LETTERS = {
    **dict.fromkeys(("c", "s", "channel", "channels", "band", "bands"), "C"),
    **dict.fromkeys(("z", "d", "depth"), "D"),
    **dict.fromkeys(("y", "h", "height", "row", "rows", "lat", "latitude"), "H"),
    **dict.fromkeys(("x", "w", "width", "column", "columns", "lon", "longitude"), "W"),
}


def find_axes(shape: Sequence[int], given: str | None = None, names: Sequence[object] = ()) -> str:
    """A letter for each axis: C channel, D depth, H height, W width; `_` has length 1, unused.

    `given` are the caller's letters, `names` the file's. Without either two axes are HW, and of
    three exactly one end of 1 to 4 is C. Raises `ImageError` for what could be read otherwise.
    """
    if given is not None:
        if _are_axes(axes := given.upper(), len(shape)):
            return axes
        rule = "name each axis once, by C (channel), D (depth), H and W, as HWC or CDHW"
        raise ImageError(f"has axes of {tuple(shape)}, not axes={given!r}: {rule}")
    if found := known_axes(shape, names):
        return found
    for name, length in zip(names, shape, strict=False):
        if length > 1 and str(name).lower() not in _UNNAMED and not _is_letter(name):
            rule = "which an image has not: give one of its parts, or say what it is by image.axes"
            raise ImageError(f"has an axis {str(name)!r} of length {length}, {rule}")
    if len(shape) == 2:
        return "HW"
    is_short = [len(shape) == 3 and shape[end] <= _MAX_CHANNELS for end in (0, -1)]
    if sum(is_short) == 1:
        return "CHW" if is_short[0] else "HWC"
    readings = {3: ("CHW", "HWC", "DHW"), 4: ("DHWC", "CDHW")}.get(len(shape))
    size = f"has axes of {tuple(shape)}"
    if readings is None:
        raise ImageError(f"{size}: an image has HW, HWC or CHW, a volume D too; give one such part")
    read = ", ".join(f"{letters} ({describe(shape, letters)})" for letters in readings)
    batch = "; of a batch, give one image" if len(shape) == 4 else ""
    raise ImageError(
        f"{size}, which can be read as {read}: say which by image.axes={readings[-1]}, in Python "
        f"by axes={readings[-1]!r}{batch}"
    )


def _is_letter(name: object) -> bool:
    return str(name).lower() in _LETTERS or str(name).lower().startswith("dim")  # of xarray


def known_axes(shape: Sequence[int], names: Sequence[object]) -> str:
    """The letters of axes with a file's names; empty if they do not tell what each is."""
    letters = [_LETTERS.get(str(name).lower(), "?") for name in names]
    found = "".join(
        _UNUSED if length == 1 and letter not in "CHW" else letter
        for length, letter in zip(shape, letters, strict=False)
    )
    is_known = _are_axes(found.replace(_UNUSED, ""), len(shape) - found.count(_UNUSED))
    return found if is_known else ""


def describe(shape: Sequence[int], axes: str) -> str:
    """The size that an array has if these are its axes, as `30 channels of 48x40`."""
    lengths = dict(zip(axes, shape, strict=True))
    size = "x".join(str(lengths[axis]) for axis in _SPATIAL if axis in lengths)
    kind = "image" if "D" not in lengths else "volume"
    n_channels = lengths.get("C", 1)
    return f"{kind} of {size}" if n_channels == 1 else f"{kind} of {size}, {n_channels} channels"


def check_rows_first(given: str | None) -> None:
    """Raise `ImageError` for other axes than those of a picture's file."""
    if given is not None and given.upper() not in ("HW", "HWC"):
        raise ImageError(f"has rows, columns and channels, not axes={given!r}: leave out the axes")


def spatial(axes: str) -> str:
    """The letters of the axes of pixels, in the order in which regions have them."""
    return "".join(axis for axis in _SPATIAL if axis in axes)


def _are_axes(letters: str, n_axes: int) -> bool:
    names = set(letters)
    return {"H", "W"} <= names <= set("CDHW") and len(names) == len(letters) == n_axes
