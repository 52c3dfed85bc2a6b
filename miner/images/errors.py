"""The errors that this package raises."""


class ImageError(ValueError):
    """An image that cannot be read or written; one line with the value, the rule and the remedy."""


class NoSpaceError(ImageError):
    """The disk has no room for an image."""
