"""One thread and one set of examples, so that every run of the tests computes the same.

Where there is no GPU, Triton's programs are interpreted; it asks before they are imported.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported, and for processes of their own
os.environ["OMP_WAIT_POLICY"] = "passive"  # as `import miner` does

import torch
from hypothesis import settings

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
torch.set_num_threads(1)
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")
