"""What a torch file's pickle can describe: storages, and the tensors that look into them.

The names that a pickle may use are words here. `made` says what a call of each would have given,
as a record; nothing of torch is looked up or called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

MOST_DIMS = 64
LARGEST = 2**63 - 1

# torch's storages, with the dtype and the bytes of their elements.
STORAGES = {
    "torch.DoubleStorage": ("float64", 8),
    "torch.FloatStorage": ("float32", 4),
    "torch.HalfStorage": ("float16", 2),
    "torch.BFloat16Storage": ("bfloat16", 2),
    "torch.LongStorage": ("int64", 8),
    "torch.IntStorage": ("int32", 4),
    "torch.ShortStorage": ("int16", 2),
    "torch.CharStorage": ("int8", 1),
    "torch.ByteStorage": ("uint8", 1),
    "torch.BoolStorage": ("bool", 1),
    "torch.ComplexDoubleStorage": ("complex128", 16),
    "torch.ComplexFloatStorage": ("complex64", 8),
    "torch.QInt32Storage": ("qint32", 4),
    "torch.QInt8Storage": ("qint8", 1),
    "torch.QUInt8Storage": ("quint8", 1),
    "torch.QUInt4x2Storage": ("quint4x2", 1),
    "torch.QUInt2x4Storage": ("quint2x4", 1),
    "torch.storage.UntypedStorage": ("uint8", 1),
}
# Its dtypes, which newer files name beside an untyped storage.
DTYPES = {
    **{f"torch.{dtype}": (dtype, width) for dtype, width in STORAGES.values()},
    **{f"torch.uint{8 * width}": (f"uint{8 * width}", width) for width in (2, 4, 8)},
    **{
        f"torch.{dtype}": (dtype, 1)
        for dtype in (
            *("float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e4m3fnuz"),
            *("float8_e8m0fnu", "float4_e2m1fn_x2"),
        )
    },
    "torch.complex32": ("complex32", 4),
}


@dataclass(frozen=True, slots=True)
class Name:
    """A class, function or constant that a pickle names: a word, never looked up."""

    word: str


@dataclass(frozen=True, slots=True)
class Other:
    """A value of a known kind that is no plain tensor: sparse, quantised, a set, bytes."""

    kind: str

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor nevertheless."""
        return self.kind.endswith("tensor")


@dataclass(frozen=True, slots=True)
class Stored:
    """A storage that tensors share: a run of bytes elsewhere in the file.

    Attributes
    ----------
    key
        Its name in the file.
    dtype
        What its elements are, in NumPy's words.
    count, width
        Elements, and bytes of each.
    """

    key: str
    dtype: str
    count: int
    width: int

    @property
    def nbytes(self) -> int:
        """Bytes in all."""
        return self.count * self.width


@dataclass(frozen=True, slots=True)
class Strided:
    """A tensor: elements of a storage, found by strides.

    Attributes
    ----------
    storage
        The storage.
    dtype, width
        Of its elements, which may be seen otherwise than the storage says.
    offset
        The first one, in elements.
    shape, strides
        Sizes, and steps in elements.
    """

    storage: Stored
    dtype: str
    width: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


T = TypeVar("T")
Value: TypeAlias = Any  # None, bool, int, float, str, bytes, list, dict, tuple, or a record above


def _strided(storage: Value, offset: Value, size: Value, stride: Value, *rest: Value) -> Value:
    """Return the record of a tensor; ``rest`` are its gradient flag, hooks and view marks."""
    storage = as_kind(Stored, storage)
    return _view(storage, storage.dtype, storage.width, offset, size, stride, rest[2:])


def _strided_as(storage: Value, offset: Value, size: Value, stride: Value, *rest: Value) -> Value:
    """Return the same for newer dtypes, which stand beside an untyped storage."""
    dtype, width = DTYPES[as_kind(Name, rest[2]).word]
    return _view(as_kind(Stored, storage), dtype, width, offset, size, stride, rest[3:])


def _view(
    storage: Stored,
    dtype: str,
    width: int,
    offset: Value,
    size: Value,
    stride: Value,
    marks: tuple[Value, ...],
) -> Strided | Other:
    if marks and marks[0]:
        return Other("conjugate or negative tensor")
    # Kept and not copied: a pickle can name one tuple a hundred thousand times.
    shape, strides = as_kind(tuple, size), as_kind(tuple, stride)
    if len(shape) != len(strides) or len(shape) > MOST_DIMS:
        raise ValueError("a shape and strides that do not fit each other")
    if not all(type(one) is int and 0 <= one <= LARGEST for one in (*shape, *strides)):
        raise ValueError("a size or stride out of range")
    return Strided(storage, dtype, width, as_size(offset), shape, strides)


def _of_subclass(function: Value, kind: Value, arguments: Value, *_state: Value) -> Value:
    as_kind(Name, kind)
    word = as_kind(Name, function).word
    if _CALLS.get(word) is _of_subclass:
        raise ValueError("a tensor of a subclass in another")
    return made(word, as_kind(tuple, arguments))


def _pairs(*arguments: Value) -> dict[str, Value]:
    """Return an ordered dict, which Python 2 wrote as a list of pairs."""
    found: dict[str, Value] = {}
    pairs = as_kind(list, arguments[0]) if arguments else []
    for pair in pairs:
        set_items(found, as_kind(list, pair)[:2])
    pairs.clear()  # a pickle can name one list again and again
    return found


# What each name that a pickle may call gives. All others are refused.
_CALLS: dict[str, Callable[..., Value]] = {
    "collections.OrderedDict": _pairs,
    "torch.Size": lambda sizes: as_kind(tuple, sizes),
    "torch._utils._rebuild_tensor": _strided,
    "torch._utils._rebuild_tensor_v2": _strided,
    "torch._utils._rebuild_tensor_v3": _strided_as,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
}
_OTHER_KINDS = {
    "collections.Counter": "Counter",
    "builtins.set": "set",
    "builtins.complex": "complex number",
    "builtins.bytearray": "bytes",
    "_codecs.encode": "bytes",
    "torch.device": "device",
    "torch.serialization._get_layout": "layout",
    "torch._utils._rebuild_qtensor": "quantised tensor",
    "torch._utils._rebuild_sparse_tensor": "sparse tensor",
    "torch._utils._rebuild_nested_tensor": "nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta tensor",
    "torch._utils._rebuild_wrapper_subclass": "meta tensor",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "device tensor",
}
_CONSTANT_WORDS = {
    "torch.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.per_tensor_affine",
    "torch.per_tensor_symmetric",
    "torch.per_channel_affine",
    "torch.per_channel_symmetric",
    "torch.per_channel_affine_float_qparams",
}
KNOWN = {
    word: Name(word) for word in (*_CALLS, *_OTHER_KINDS, *_CONSTANT_WORDS, *STORAGES, *DTYPES)
}


def made(word: str, arguments: tuple[Value, ...]) -> Value:
    """Return what a call of a known name gives."""
    if word in _OTHER_KINDS:
        return Other(_OTHER_KINDS[word])
    return _CALLS[word](*arguments)


def set_items(target: Value, items: list[Value]) -> None:
    """Put keys and values, in turns, into a dict; only what has a name is kept."""
    if isinstance(target, Other):
        return  # a Counter, whose items nobody asks for
    if len(items) % 2:
        raise ValueError("a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is str:  # tensors are found by name; numbers key the state of an optimiser
            as_kind(dict, target)[key] = value


def as_kind(kind: type[T], value: Value) -> T:
    """Return a value that must be of a kind; raise TypeError where it is of another."""
    if type(value) is not kind:
        raise TypeError(f"{type(value).__name__} for {kind.__name__}")
    return value


def as_size(value: Value) -> int:
    """Return a count or offset; raise ValueError where it is out of range."""
    if not 0 <= as_kind(int, value) <= LARGEST:
        raise ValueError("a count or offset out of range")
    return int(value)
