"""A run whose blocks have networks of several widths."""

import csv

from runs import Fit, read_report

import miner


def test_report_counts_networks_of_any_width(fit: Fit) -> None:
    run = fit("capacity=target_error", "storage=int8", "fitting.coarse_ratio=1", "logger=csv")
    report, stored = read_report(run), miner.load(run)
    for level in report["levels"]:
        (shard,) = stored.shards[level["level"]]
        sizes = {width: stored.spec.model(0, width).n_parameters for width in shard.stored}
        assert len(sizes) > 1
        assert level["n_parameters"] == sum(sizes[width] for width in shard.widths.tolist())
        assert level["n_active"] == len(shard.widths)
    assert report["n_parameters"] == stored.n_parameters
    with (run / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["fit/psnr_db"]]
    assert float(rows[-1]["fit/parameters"]) == stored.n_parameters
