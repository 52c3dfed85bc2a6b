"""Read regions of a signal before they are needed, where something else than the CPU computes."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from miner.pyramid.raster import Raster
from miner.regions import Region

_READERS = {"cuda": 4}  # threads for each type of device; none where the CPU has to do it all


def read_ahead(signal: Raster, regions: Iterable[Region]) -> Iterator[Tensor]:
    """The values in each region, in order; at most five regions are in memory at once."""
    n_readers = _READERS.get(signal.device.type, 0)
    if n_readers == 0:
        yield from map(signal.read, regions)
        return
    waiting: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(n_readers) as readers:
        try:
            for region in regions:
                waiting.append(readers.submit(signal.read, region))
                if len(waiting) > n_readers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
