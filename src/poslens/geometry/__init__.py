"""Measures of a position table: plain arrays in, plain numbers out.

Every measure has the name and the formula of the contract (docs/measures.md), one home, and is
computed in float64. This room knows NumPy and SciPy, no files and no claims.
"""

from poslens.geometry.table import TableMeasures, measures_of_table

__all__ = ["TableMeasures", "measures_of_table"]
