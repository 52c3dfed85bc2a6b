"""Methods that MINER is compared with, each by one file of `conf/method`; see docs/peers.md."""
