"""The words for axes, declared once.

The same words stand in annotations, xarray dimensions, einsum comments and documentation.
Sizes in formulas keep the letters of the papers: L positions of d dimensions.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Complex, Float, Real

POSITION = "position"  # t: the index of a row of a position table
BLOCK = "block"  # runs of neighbouring positions, averaged
KEY_BLOCK = "key_block"  # the same runs, as the second axis of a matrix
DIM = "dim"  # the d coordinates of a row
TOKEN = "token"  # rows of a token embedding table
LAG = "lag"  # k: the distance between two positions
FIT_LAG = "fit_lag"  # the lags 0 … ⌊L/2⌋, on which curves are fitted
STRIDE = "stride"  # s: the length of a difference p_{t+s} - p_t
SHIFT = "shift"  # k: how far a shift operator moves a position
COMPONENT = "component"  # principal components, in descending order of variance
LEADING_COMPONENT = "leading_component"  # the first few of them
TURNS = "turns"  # m: full turns of a helix over the table
FAMILY = "family"  # families of curves fitted to the cosine profile
QUANTILE = "quantile"  # quantiles over null draws
HEAD = "head"  # attention heads
HEAD_DIM = "head_dim"  # the d_k coordinates of a head's query or key
QUERY_POS = "query_pos"  # t: the position that attends
KEY_POS = "key_pos"  # s: the position that is attended to
OFFSET = "offset"  # s - t: from the query to the key, negative for keys before it
PLANE = "plane"  # the planes in which RoPE rotates, and the frequencies of a sinusoid
BUCKET = "bucket"  # runs of distances that share one learned number
DISTANCE = "distance"  # rows of a table of relative vectors

Rows: TypeAlias = Float[np.ndarray, "position dim"]
TokenRows: TypeAlias = Float[np.ndarray, "token dim"]
PerPosition: TypeAlias = Float[np.ndarray, "position"]
PerStep: TypeAlias = Float[np.ndarray, "step"]  # one for each p_{t+s} - p_t
Pairs: TypeAlias = Float[np.ndarray, "pair dim"]  # one side of pairs (p_i, p_{i+k})
NewPairs: TypeAlias = Float[np.ndarray, "new_pair dim"]  # pairs that a fit has not seen
PerDim: TypeAlias = Float[np.ndarray, "dim"]
PerLag: TypeAlias = Float[np.ndarray, "lag"]
PerFitLag: TypeAlias = Float[np.ndarray, "fit_lag"]
PerComponent: TypeAlias = Float[np.ndarray, "component"]
PerLeadingComponent: TypeAlias = Float[np.ndarray, "leading_component"]
Scores: TypeAlias = Float[np.ndarray, "position leading_component"]
Directions: TypeAlias = Float[np.ndarray, "dim direction"]
Positions: TypeAlias = Real[np.ndarray, "position"]
QueryPositions: TypeAlias = Real[np.ndarray, "query_pos"]
KeyPositions: TypeAlias = Real[np.ndarray, "key_pos"]
Offsets: TypeAlias = Real[np.ndarray, "offset"]
PerPlane: TypeAlias = Float[np.ndarray, "plane"]
Angles: TypeAlias = Float[np.ndarray, "position plane"]
Planes: TypeAlias = Complex[np.ndarray, "*lead position plane"]  # x_1 + i·x_2 of each plane
HeadRows: TypeAlias = Float[np.ndarray, "*lead position head_dim"]
PerHead: TypeAlias = Float[np.ndarray, "head"]
PairBias: TypeAlias = Float[np.ndarray, "head query_pos key_pos"]
OffsetBias: TypeAlias = Float[np.ndarray, "head offset"]
BucketValues: TypeAlias = Float[np.ndarray, "bucket head"]
HeadVector: TypeAlias = Float[np.ndarray, "head head_dim"]
Queries: TypeAlias = Float[np.ndarray, "head query_pos head_dim"]
Keys: TypeAlias = Float[np.ndarray, "head key_pos head_dim"]
DistanceRows: TypeAlias = Float[np.ndarray, "distance head_dim"]
HeadDistances: TypeAlias = Float[np.ndarray, "head distance head_dim"]
