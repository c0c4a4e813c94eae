"""The words for axes, declared once.

The same words stand in annotations, xarray dimensions, einsum comments and documentation.
Sizes in formulas keep the letters of the papers: L positions of d dimensions.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Complex, Float, Int, Real

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
LAYER = "layer"  # layers of a model, from 0
ROTATION = "rotation"  # rotations of a model: one for each base
HEAD = "head"  # attention heads of a layer, those of its queries
KEY_HEAD = "key_head"  # heads of keys: fewer, where several heads of queries share one
D_HEAD = "d_head"  # the d_k coordinates of a head's query or key
QUERY_POS = "query_pos"  # t: the position that attends
KEY_POS = "key_pos"  # s: the position that is attended to
OFFSET = "offset"  # s - t, from query to key, ascending; a causal row has none above 0
PLANE = "plane"  # the planes in which RoPE rotates, and the frequencies of a sinusoid
BUCKET = "bucket"  # runs of distances that share one learned number
DISTANCE = "distance"  # rows of a table of relative vectors
TERM = "term"  # what a logit is the sum of: content with content, content with position …
PART = "part"  # what a hidden state is the sum of: position, context, the rest
CONTEXT = "context"  # c: texts of the same length that a model reads

Rows: TypeAlias = Float[np.ndarray, "position dim"]
NewRows: TypeAlias = Float[np.ndarray, "new_position dim"]  # of a longer table
TokenRows: TypeAlias = Float[np.ndarray, "token dim"]
PerPosition: TypeAlias = Float[np.ndarray, "position"]
PerStep: TypeAlias = Float[np.ndarray, "step"]  # one for each p_{t+s} - p_t
Projected: TypeAlias = Float[np.ndarray, "position direction"]  # a table on a few directions
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
PerDHead: TypeAlias = Float[np.ndarray, "d_head"]
PerHead: TypeAlias = Float[np.ndarray, "head"]
PerOffset: TypeAlias = Float[np.ndarray, "offset"]
Angles: TypeAlias = Float[np.ndarray, "position plane"]
Planes: TypeAlias = Complex[np.ndarray, "*lead position plane"]  # x_1 + i·x_2 of each plane
HeadPlanes: TypeAlias = Complex[np.ndarray, "head plane"]
Queries: TypeAlias = Float[np.ndarray, "head position d_head"]
Keys: TypeAlias = Float[np.ndarray, "key_head position d_head"]
HeadRows: TypeAlias = Float[np.ndarray, "position d_head"]  # queries or keys of one head
LedRows: TypeAlias = Float[np.ndarray, "*lead position d_head"]  # of any number of heads
QueryRows: TypeAlias = Float[np.ndarray, "head query_pos d_head"]
KeyRows: TypeAlias = Float[np.ndarray, "head key_pos d_head"]
PairBias: TypeAlias = Float[np.ndarray, "head query_pos key_pos"]
HeadPositions: TypeAlias = Float[np.ndarray, "head position"]
HeadOffsets: TypeAlias = Float[np.ndarray, "head offset"]
HeadVector: TypeAlias = Float[np.ndarray, "head d_head"]
BucketValues: TypeAlias = Float[np.ndarray, "bucket head"]
DistanceRows: TypeAlias = Float[np.ndarray, "distance d_head"]
Tokens: TypeAlias = Int[np.ndarray, "context position"]  # ids in the vocabulary
HeadDistances: TypeAlias = Float[np.ndarray, "head distance d_head"]
