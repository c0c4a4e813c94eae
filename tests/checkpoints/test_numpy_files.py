"""``.npy`` and ``.npz``: what NumPy writes is read, everything else refused without unpickling."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from poslens.checkpoints import load_table
from poslens.checkpoints.numpy_files import CHUNK, NpyFile, NpzFile, stored_from_array
from poslens.errors import SourceError, TableError


def npy_bytes(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode()
    count = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return b"\x93NUMPY" + version + count + text + data


def literal(descr: object = "<f4", order: object = False, shape: object = (3, 2)) -> str:
    return repr({"descr": descr, "fortran_order": order, "shape": shape}) + "\n"


def saved(path: Path, array: np.ndarray, version: tuple[int, int] | None = None) -> Path:
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
    return path


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", ">f2"])
def test_every_layout_gives_the_same_rows_and_hash(
    tmp_path: Path, table: np.ndarray, version: tuple[int, int], order: str, dtype: str
) -> None:
    array = np.asarray(table, dtype=dtype, order=order)
    got = load_table(saved(tmp_path / "x.npy", array, version))
    plain = load_table(np.ascontiguousarray(table, dtype=np.dtype(dtype).newbyteorder("=")))
    np.testing.assert_array_equal(got.rows, array.astype(np.float64))
    assert got.rows.flags.c_contiguous
    assert got.source.sha256 == plain.source.sha256
    assert got.source.dtype == plain.source.dtype == array.dtype.name
    assert got.source.bytes_read == array.nbytes


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_members(tmp_path: Path, table: np.ndarray, save: object) -> None:
    path = tmp_path / "x.npz"
    save(path, wpe=table, other=table[:4], labels=np.array(["a", "b"]))
    for source in (str(path), f"{path}::wpe"):
        got = load_table(source)
        np.testing.assert_array_equal(got.rows, table)
        assert got.source.tensor == "wpe"
        assert got.source.uri == source
    np.testing.assert_array_equal(load_table(f"{path}::other").rows, table[:4])
    with pytest.raises(SourceError, match=r"no tensor 'x'.*expected one of 'wpe', 'other', 'lab"):
        load_table(f"{path}::x")
    with pytest.raises(TableError, match=r"tensor 'labels' of .*got dtype 'str32'"):
        load_table(f"{path}::labels")


def test_members_that_are_no_arrays_are_left_out(tmp_path: Path, table: np.ndarray) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, anything=table)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "hello")
        archive.writestr("wpe.npy/", "")
    np.testing.assert_array_equal(load_table(path).rows, table)


def test_an_npy_holds_one_unnamed_array(tmp_path: Path, table: np.ndarray) -> None:
    path = saved(tmp_path / "x.npy", table)
    with pytest.raises(SourceError, match=r"no tensor 'wpe' .*holds one unnamed array"):
        load_table(f"{path}::wpe")


class Trap:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (Path.write_text, (self.path, "unpickled"))  # type: ignore[return-value]


def test_pickled_objects_are_refused_unread(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    array = np.array([[Trap(mark)] * 3] * 3, dtype=object)
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    np.savez(tmp_path / "x.npz", wpe=array)
    with pytest.raises(TableError, match=r"got dtype 'object'"):
        load_table(tmp_path / "x.npy")
    with pytest.raises(TableError, match=r"got dtype 'object'"):
        load_table(tmp_path / "x.npz")
    (tmp_path / "p.npy").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(SourceError, match=r"begins with the NumPy magic string"):
        load_table(tmp_path / "p.npy")
    assert not mark.exists()


@pytest.mark.parametrize(
    "array",
    [
        np.ones((4, 4), dtype=np.int64),
        np.ones((4, 4), dtype=np.uint8),
        np.ones((4, 4), dtype=bool),
        np.ones((4, 4), dtype=np.complex64),
        np.ones((4, 4), dtype=np.longdouble),
        np.full((4, 4), "x"),
        np.full((4, 4), b"x"),
        np.zeros((4, 4), dtype="M8[s]"),
        np.zeros((4, 4), dtype=[("a", "f4"), ("é", "f4")]),
        np.zeros((4, 4), dtype=object),
    ],
    ids=lambda array: array.dtype.name,
)
def test_other_dtypes_are_refused_by_every_route(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", array)
    for source in (array, saved(tmp_path / "x.npy", array), tmp_path / "x.npz"):
        with pytest.raises(TableError, match=r"expected a float64, .* or bfloat16 tensor, got dty"):
            load_table(source)


def test_a_masked_array_is_refused(table: np.ndarray) -> None:
    with pytest.raises(TableError, match=r"expected a plain NumPy array, got a masked array"):
        load_table(np.ma.masked_less(table, 0))


DATA = bytes(24)
DEEP = "{'descr': '<f4', 'fortran_order': False, 'shape': " + "(" * 5000 + ")" * 5000 + "}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", r"begins with the NumPy magic string, got"),
        (b"\x93NUMPY\x01", r"begins with the NumPy magic string, got"),
        (b"\x93NUMPY\x09\x00" + b"x" * 40, r"format version 1.0, 2.0 or 3.0, got 9.0"),
        (b"\x93NUMPY\x01\x01" + b"x" * 40, r"format version 1.0, 2.0 or 3.0, got 1.1"),
        (b"\x93NUMPY\x01\x00\x05", r"a header of at most 10000 bytes, got -1 bytes"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", r"at most 10000 bytes, got 4294967295 bytes"),
        (b"\x93NUMPY\x01\x00\x76\x00{", r"a header of 118 bytes, got 1 bytes \(truncated\)"),
        (npy_bytes("nonsense("), r"descr, fortran_order and shape, got .SyntaxError"),
        (npy_bytes("__import__('os')"), r"descr, fortran_order and shape, got .ValueError"),
        (npy_bytes("{'a': 1}"), r"descr, fortran_order and shape, got .KeyError"),
        (npy_bytes("'text'"), r"descr, fortran_order and shape, got .TypeError"),
        (npy_bytes("{1: '\\d'}"), r"descr, fortran_order and shape, got .KeyError"),
        (npy_bytes(DEEP[:9990]), r"descr, fortran_order and shape, got"),
        (npy_bytes("\0"), r"descr, fortran_order and shape, got"),
        (npy_bytes(literal(descr=None)), r"got 'TypeError: descr None'"),
        (npy_bytes(literal(descr="nonsense")), r"got .TypeError: data type"),
        (npy_bytes(literal(descr=[("a",)])), r"descr, fortran_order and shape, got"),
        (npy_bytes(literal(order=1)), r"got 'shape \(3, 2\), fortran_order 1'"),
        (npy_bytes(literal(shape=[3, 2])), r"got 'shape \[3, 2\]"),
        (npy_bytes(literal(shape=(3, -2))), r"got 'shape \(3, -2\)"),
        (npy_bytes("\xa0" + literal(), DATA), r"descr, fortran_order and shape, got .SyntaxError"),
        (npy_bytes(literal(shape=(3, 2.0))), r"got 'shape \(3, 2.0\)"),
        (npy_bytes(literal(shape=(1,) * 65)), r"got 'shape \(1, 1"),
        (npy_bytes(literal(shape=(2**62, 2**62)), b"x" * 24), r"say, got 24 bytes"),
        (npy_bytes(literal(), b"x" * 23), r"dtype float32 and shape '\(3, 2\)' say, got 23 bytes"),
        (npy_bytes(literal(), b"x" * 25), r"dtype float32 and shape '\(3, 2\)' say, got 25 bytes"),
    ],
)
def test_damaged_npy(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(SourceError, match=f"not a sound NumPy file: .*{message}") as caught:
        load_table(tmp_path / "x.npy")
    assert "\n" not in str(caught.value)


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def test_npz_members_that_lie(tmp_path: Path) -> None:
    hostile = npy_bytes(literal(shape=(2**40, 2**10)), b"x" * 64)
    with pytest.raises(SourceError, match=r"'wpe' in .*x.npz.*bytes of data as .* got 64 bytes"):
        load_table(zipped(tmp_path / "x.npz", {"wpe.npy": hostile}))


def test_npz_member_that_claims_a_huge_size(tmp_path: Path) -> None:
    """Both places where a zip states a member's size are set to 3 GB."""
    good = npy(np.eye(4))
    path = zipped(tmp_path / "x.npz", {"wpe.npy": good}, zipfile.ZIP_DEFLATED)
    size = len(good).to_bytes(4, "little")
    lie = (3 * 2**30).to_bytes(4, "little")
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, lie))
    with pytest.raises(SourceError, match=r"in 'wpe.npy', got a member that claims 3221225472 by"):
        load_table(path)


def test_npz_member_that_ends_early(tmp_path: Path) -> None:
    """Both places where a zip states a member's size fit its header, but not its data."""
    short = npy(np.eye(4))[:-8]
    path = zipped(tmp_path / "x.npz", {"wpe.npy": short}, zipfile.ZIP_DEFLATED)
    actual, claimed = (n.to_bytes(4, "little") for n in (len(short), len(short) + 8))
    assert path.read_bytes().count(actual) == 2
    path.write_bytes(path.read_bytes().replace(actual, claimed))
    with pytest.raises(SourceError, match=r"expected 128 bytes of data, got 120 bytes \(truncated"):
        load_table(path)


def test_npz_damaged_in_other_ways(tmp_path: Path) -> None:
    good = npy(np.eye(4))
    whole = zipped(tmp_path / "good.npz", {"wpe.npy": good}).read_bytes()
    path = tmp_path / "x.npz"

    path.write_bytes(whole[:-30])
    with pytest.raises(
        SourceError, match=r"an undamaged zip archive, got 'File is not a zip file'"
    ):
        load_table(path)

    at = whole.index(np.float64(1).tobytes())
    path.write_bytes(whole[:at] + np.float64(2).tobytes() + whole[at + 8 :])
    with pytest.raises(SourceError, match=r"an undamaged zip archive, got .Bad CRC-32"):
        load_table(path)

    zipped(path, {"wpe.npy": good}, zipfile.ZIP_LZMA)
    with pytest.raises(SourceError, match=r"members stored or deflated, got method 14"):
        load_table(path)

    zipped(path, {"wpe.npy": b"not npy"})
    with pytest.raises(SourceError, match=r"'wpe' in .*begins with the NumPy magic string"):
        load_table(path)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("wpe.npy", good)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("wpe.npy", good)
    with pytest.raises(SourceError, match=r"one member of each name, got 'wpe' twice"):
        load_table(path)


def test_an_encrypted_member(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.npz", {"wpe.npy": npy(np.eye(4))})
    whole = bytearray(path.read_bytes())
    whole[6] |= 1  # the encryption bit of the local header,
    whole[whole.index(b"PK\x01\x02") + 8] |= 1  # and of the central directory
    path.write_bytes(whole)
    with pytest.raises(SourceError, match=r"an undamaged zip archive, got .*encrypted"):
        load_table(path)


def test_an_archive_that_is_replaced_after_opening(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.npz", {"wpe.npy": npy(np.eye(4))})
    opened = NpzFile(path)
    zipped(tmp_path / "y.npz", {"wpe.npy": npy(np.eye(4) + 1)}).replace(path)
    with pytest.raises(SourceError, match=r"x.npz' is not as it was when it was opened"):
        opened.read("wpe")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f2"])
def test_arrays_of_more_than_one_piece(tmp_path: Path, order: str, dtype: str) -> None:
    array = np.random.default_rng(0).normal(size=(1013, 3 * CHUNK // 1013 // 4)).astype(dtype)
    np.save(tmp_path / "x.npy", np.array(array, order=order))
    stored = NpyFile(tmp_path / "x.npy").read("")
    np.testing.assert_array_equal(stored.values(), array)
    assert stored.sha256() == stored_from_array(array).sha256()
