"""Training steps compiled for one network: a block stays in a core's cache for many steps."""
