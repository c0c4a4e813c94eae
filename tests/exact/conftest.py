"""Settings of the exact tests: the same examples everywhere, and one BLAS thread."""

from __future__ import annotations

import scipy.linalg  # noqa: F401  (its BLAS must be loaded before it can be limited)
from hypothesis import settings
from threadpoolctl import threadpool_limits

# The same examples on every run and machine; no deadline, since a busy machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")

# The tables of these tests are small: BLAS threads gain nothing, and where tests run side by side
# (or beside anything else) threads that wait for one another make them many times slower.
threadpool_limits(limits=1)
