"""The middle of an image, for trials on a part of it."""


def middle_box(width_px: int, height_px: int, crop_px: int | None) -> tuple[int, int, int, int]:
    """Left, top, width and height of the middle, at most `crop_px` pixels a side; None is all."""
    width, height = (
        side if crop_px is None else min(side, crop_px) for side in (width_px, height_px)
    )
    return (width_px - width) // 2, (height_px - height) // 2, width, height
