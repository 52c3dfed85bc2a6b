"""Count the instructions of a compiled program by kind, loop by loop."""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

KINDS = {  # of operations by the first part of their names; all others are integer and logic
    "tensor": ("HMMA", "HGMMA"),
    "float32": ("FFMA", "FADD", "FMUL"),
    "special": ("MUFU",),
    "local": ("LDL", "STL"),
    "shared": ("LDS", "STS", "LDSM", "STSM"),
    "global": ("LDG", "STG"),
    "shuffle": ("SHFL",),
    "barrier": ("BAR",),
}
_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
_LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)[^;]*?(0x\w+)? ;")
_REGISTERS, _SHARED, _WARPS, _PROGRAMS = 65_536, 228 * 1024, 64, 32  # of a multiprocessor, 9.0


class Instruction(NamedTuple):
    """One instruction; `target` is the address that a branch goes to."""

    address: int
    kind: str
    target: int | None


class Loop(NamedTuple):
    """The instructions from a branch's target to the branch, without those of loops inside."""

    is_inner: bool
    counts: Counter[str]


def usage(cubin: bytes) -> tuple[int, int]:
    """A thread's registers, and its bytes of stack."""
    ((registers, stack),) = re.findall(
        r"REG:(\d+) STACK:(\d+)", _dumped(cubin, "--dump-resource-usage")
    )
    return int(registers), int(stack)


def instructions(cubin: bytes) -> list[Instruction]:
    """All instructions of a program, in their order in memory."""
    found = []
    for line in _dumped(cubin, "--dump-sass").splitlines():
        if match := _LINE.match(line):
            address, name, last = match.groups()
            target = int(last, 16) if name == "BRA" and last else None
            found.append(Instruction(int(address, 16), _KIND_OF.get(name, "integer"), target))
    return found


def loops(code: Sequence[Instruction]) -> list[Loop]:
    """The loops, inner ones before those around them; a branch to itself ends the program."""
    ends = {i.target: i.address for i in code if i.target is not None and i.target < i.address}
    spans = sorted(ends.items(), key=lambda span: span[1] - span[0])
    counts: list[Counter[str]] = [Counter() for _ in spans]
    for i in code:
        inside = (n for n, (first, last) in enumerate(spans) if first <= i.address <= last)
        if (n := next(inside, None)) is not None:
            counts[n][i.kind] += 1
    inner = [not any(a < c and d < b for c, d in spans) for a, b in spans]
    return [Loop(*loop) for loop in zip(inner, counts, strict=True)]


def programs_at_once(registers: int, shared_bytes: int, n_warps: int) -> int:
    """How many programs a multiprocessor of an H100 holds; registers come in groups of 8."""
    by_registers = _REGISTERS // (-(-registers // 8) * 8 * 32 * n_warps)
    by_shared = _SHARED // (shared_bytes + 1024)  # a KiB of each is the driver's
    return min(by_registers, by_shared, _WARPS // n_warps, _PROGRAMS)


def _dumped(cubin: bytes, option: str) -> str:
    import triton  # which some systems do not have

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(cubin)
        tool = Path(triton.__path__[0]) / "backends" / "nvidia" / "bin" / "cuobjdump"
        command = [str(tool), option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
