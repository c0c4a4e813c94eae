"""How often verdicts are right, where the truth is known by construction."""

from poslens.audit.cells import EVERY, MODELS, PROCESSES, RUNS, Cell, Outcome
from poslens.audit.page import write_page
from poslens.audit.plan import FULL, QUICK, Plan
from poslens.audit.processes import Process, Truth
from poslens.audit.run import Audit, run_audit

__all__ = [
    "EVERY",
    "FULL",
    "MODELS",
    "PROCESSES",
    "QUICK",
    "RUNS",
    "Audit",
    "Cell",
    "Outcome",
    "Plan",
    "Process",
    "Truth",
    "run_audit",
    "write_page",
]
