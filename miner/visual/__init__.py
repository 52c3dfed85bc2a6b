"""Pictures of a fit: blocks, error map and quality curves."""
