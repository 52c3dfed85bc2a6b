"""A run mapped on Lightning: an epoch is a level, a batch is a rank's share of chunks."""
