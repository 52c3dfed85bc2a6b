"""One thread and one set of examples, so that every run of the tests computes the same.

Where there is no GPU, Triton's programs are interpreted; it asks before they are imported.
"""

import os

import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
torch.set_num_threads(1)
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")
