"""Runs that no other beats in quality and cost at once."""

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats, cost ascending.

    A point is beaten by one that costs no more and is better, or costs less and is as good.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -qualities[i]))
    front: list[int] = []
    for index in order:
        if not front or qualities[index] > qualities[front[-1]]:
            front.append(index)
    return front
