"""Callbacks of a run: each is a Lightning callback, chosen in `conf/callbacks/`."""
