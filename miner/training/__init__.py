"""A fit mapped on Lightning: an epoch is a pyramid level, a batch is a deal of chunks."""
