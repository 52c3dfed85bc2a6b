"""Methods without a network that MINER is compared with."""
