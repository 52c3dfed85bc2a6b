"""What a comparison says in a few lines."""

from collections import Counter

from miner.comparison.comparison import Comparison
from miner.comparison.differences import Difference, paired_differences
from miner.comparison.equal_cost import differences_at_equal_cost, sweeps_along
from miner.comparison.labels import COSTS, name

_MOST_LINES = 6


def counts(comparison: Comparison) -> str:
    """How many runs there are, and what became of them."""
    found = Counter(result.status for result in comparison.results)
    n_runs = len(comparison.results)
    parts = ", ".join(f"{n} {status}" for status, n in found.items())
    return f"{n_runs} run{'' if n_runs == 1 else 's'}: {parts or 'none'}"


def summary_lines(comparison: Comparison) -> list[str]:
    """The counts, then what each factor is worth in PSNR, also at equal parameters."""
    lines = [counts(comparison)]
    for factor in comparison.factors:
        found = overall(paired_differences(comparison, factor, "psnr_db"))
        lines += [f"{factor}: {each}" for each in found[:_MOST_LINES]]
        if len(found) > _MOST_LINES:
            lines.append(f"{factor}: {len(found) - _MOST_LINES} more in comparison.md")
        if not found:
            lines.append(f"{factor}: no two finished runs differ in it alone")
        lines += [
            f"{factor}: {each}, at equal {name(COSTS[0])} along {along}"
            for along in sweeps_along(comparison)
            if along != factor
            for each in overall(differences_at_equal_cost(comparison, factor, along, COSTS[0]))[
                :_MOST_LINES
            ]
        ]
    return lines


def overall(differences: list[Difference]) -> list[Difference]:
    """Those over all settings, without those in each one."""
    return [each for each in differences if not each.setting]
