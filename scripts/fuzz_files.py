"""Files of a representation as bytes, and damage that needs to know nothing of what they hold."""

from collections.abc import Callable
from random import Random

MANIFEST = "manifest.json"
Files = dict[str, bytes]
"""Name to content."""

Mutation = Callable[[Random, Files, Files], Files]
"""Takes a source of randomness, sound files, and those of another sound representation."""


def replaced(files: Files, name: str, content: bytes) -> Files:
    """The files with another content of one."""
    return {**files, name: content}


def shards(files: Files) -> list[str]:
    """Names of the shards."""
    return sorted(name for name in files if name != MANIFEST)


def _any_file(random: Random, files: Files) -> str:
    return MANIFEST if random.random() < 0.4 else random.choice(shards(files))


def flipped(random: Random, files: Files, other: Files) -> Files:
    """A few bytes are others."""
    name = _any_file(random, files)
    content = bytearray(files[name])
    for _ in range(random.choice((1, 1, 3, 30))):
        content[random.randrange(len(content))] ^= random.randrange(1, 256)
    return replaced(files, name, bytes(content))


def cut(random: Random, files: Files, other: Files) -> Files:
    """A part is missing, at the end or within."""
    name = _any_file(random, files)
    content = files[name]
    first, last = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return replaced(files, name, content[:first] + random.choice((b"", content[last:])))


def inserted(random: Random, files: Files, other: Files) -> Files:
    """Some bytes more."""
    name = _any_file(random, files)
    content, at = files[name], random.randrange(len(files[name]) + 1)
    more = random.choice((random.randbytes(random.randrange(1, 64)), b"\0" * 4096, b"[" * 100_000))
    return replaced(files, name, content[:at] + more + content[at:])


def spliced(random: Random, files: Files, other: Files) -> Files:
    """The beginning of one file and the end of another, this representation's or another's."""
    name, donor = _any_file(random, files), random.choice((files, other))
    end = donor[_any_file(random, donor)]
    kept = files[name][: random.randrange(len(files[name]) + 1)]
    return replaced(files, name, kept + end[random.randrange(len(end) + 1) :])


def swapped(random: Random, files: Files, other: Files) -> Files:
    """Two files have each other's names."""
    first, second = random.sample(sorted(files), 2)
    return {**files, first: files[second], second: files[first]}


def missing(random: Random, files: Files, other: Files) -> Files:
    """A file is not there, or empty."""
    name = random.choice(sorted(files))
    rest = {kept: content for kept, content in files.items() if kept != name}
    return random.choice((rest, {**rest, name: b""}))


def foreign(random: Random, files: Files, other: Files) -> Files:
    """Some files are another representation's."""
    name = random.choice(sorted(files))
    return replaced(files, name, other.get(name, other[MANIFEST]))
