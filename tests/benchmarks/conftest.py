"""The files of ``benchmarks/`` are scripts: they find one another beside themselves."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
