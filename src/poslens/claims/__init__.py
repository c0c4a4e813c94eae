"""The article's statements as tests: a measure, a bar, an interval, a null, a verdict.

This room knows measures and null models, not files.
"""

from poslens.claims.claim import Claim, Verdict
from poslens.claims.decide import decide_all, default_bars

__all__ = ["Claim", "Verdict", "decide_all", "default_bars"]
