"""A run mapped on Lightning: an epoch is a level, in which each rank fits its share of chunks."""
