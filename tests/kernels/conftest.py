"""What the tests of this folder start from."""

import importlib.util

from workshop import workshop  # noqa: F401

if importlib.util.find_spec("triton") is None:  # there is none for macOS
    collect_ignore_glob = ["test_triton_*"]
