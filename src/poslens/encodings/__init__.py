"""What each position scheme adds, as pure NumPy: one module per scheme, one Protocol for all.

A scheme says how it acts (`Acts`), how many trained numbers it owns, and gives its table
(`AddsTable`), its rotation (`Rotates`) or its bias (`Biases`) at any positions that it has.
Shaw's and DeBERTa's biases depend on queries and keys as well, and have methods of their own.
"""

from poslens.encodings.alibi import Alibi, alibi_slopes
from poslens.encodings.deberta import Deberta, log_buckets
from poslens.encodings.learned import Learned
from poslens.encodings.nope import Nope
from poslens.encodings.protocol import Acts, AddsTable, Biases, Encoding, Rotates
from poslens.encodings.registry import ENCODINGS, SCALINGS
from poslens.encodings.rope import Rope
from poslens.encodings.rope_config import scaling_from
from poslens.encodings.rope_per_plane import Llama3, LongRope, Yarn
from poslens.encodings.rope_scaling import Dynamic, Linear, Proportional, Scaling, Unscaled
from poslens.encodings.shaw import Shaw
from poslens.encodings.sinusoidal import sinusoidal_rows, sinusoidal_table
from poslens.encodings.sinusoids import Concatenated, Sinusoidal, Whisper
from poslens.encodings.spec import EncodingSpec, names_encoding, parse_encoding, usage
from poslens.encodings.t5 import T5, t5_buckets

__all__ = [
    "ENCODINGS",
    "SCALINGS",
    "T5",
    "Acts",
    "AddsTable",
    "Alibi",
    "Biases",
    "Concatenated",
    "Deberta",
    "Dynamic",
    "Encoding",
    "EncodingSpec",
    "Learned",
    "Linear",
    "Llama3",
    "LongRope",
    "Nope",
    "Proportional",
    "Rope",
    "Rotates",
    "Scaling",
    "Shaw",
    "Sinusoidal",
    "Unscaled",
    "Whisper",
    "Yarn",
    "alibi_slopes",
    "log_buckets",
    "names_encoding",
    "parse_encoding",
    "scaling_from",
    "sinusoidal_rows",
    "sinusoidal_table",
    "t5_buckets",
    "usage",
]
