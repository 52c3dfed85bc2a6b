"""Signals that are read and written region by region: regions, patches, scratch files, stores."""
