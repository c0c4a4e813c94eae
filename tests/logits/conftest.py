"""Settings of the tests of logits: the same examples everywhere, and one BLAS thread."""

from __future__ import annotations

import scipy.linalg  # noqa: F401  (its BLAS must be loaded before it can be limited)
import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

# The same examples on every run and machine; no deadline, since a busy machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

threadpool_limits(limits=1)  # the matrices of these tests are small
torch.set_num_threads(1)
