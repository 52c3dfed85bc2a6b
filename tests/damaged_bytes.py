"""Damage to files, for tests of what reads them."""

from hypothesis import strategies as st

PIECES = (b"\0", bytes(4096), b"\xff" * 2, b"\xff" * 4, b"\x7f" + b"\xff" * 7, b"[" * 100_000)


@st.composite
def damaged(draw: st.DrawFn, sound: bytes, *others: bytes) -> bytes:
    """Up to three bytes or lengths cut out, changed, zero or extreme; half of them in the header.

    The rest of the bytes stays as it is, is missing, or is that of another file.
    """
    content = sound
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, min(400, len(content))) | st.integers(0, len(content)))
        size = draw(st.sampled_from((1, 2, 4, 8)))
        piece = draw(st.just(b"") | st.binary(max_size=size) | st.sampled_from(PIECES))
        rest = content[at + size :]
        ends = [rest, rest, rest, rest[56:], b"", *(other[at:] for other in others)]
        content = content[:at] + piece + draw(st.sampled_from(ends))
    return content
