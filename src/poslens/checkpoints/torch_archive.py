"""The zip archives that torch writes, found record by record without decompressing or loading.

torch stores its records plain, one after another: the pickle that describes the tensors, the bytes
of each storage, and a few words about the format. What any other program may put into a zip
(compression, encryption, records that overlap or lie about their size) is refused.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import NoReturn

from poslens.checkpoints.byte_source import ByteSource, Span
from poslens.checkpoints.numpy_files import DAMAGED_ZIP
from poslens.errors import SourceError, quoted

MAGIC = b"PK\x03\x04"
# Of the list of records: 2 MB are 20,000 storages, which take some 30 MB once they are listed.
LARGEST_DIRECTORY = 2_000_000
_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")  # magic, flags, method, lengths of name and extra


@dataclass(frozen=True)
class Record:
    """A record of an archive.

    Attributes
    ----------
    header
        Where its header starts.
    size, crc
        Its length in bytes and their checksum.
    plain
        Whether it is stored as it is.
    """

    header: int
    size: int
    crc: int
    plain: bool


class TorchArchive:
    """The records of a zip archive, by name, without the archive's own name before them.

    Raises
    ------
    SourceError
        If it is damaged, or not as torch writes archives.

    Attributes
    ----------
    bytes_read
        Bytes that were read to learn what is where, and by `read`.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source, self.shown = source, source.shown
        stream = _Stream(source)
        self._records: dict[str, Record] = {}
        try:
            with zipfile.ZipFile(stream) as archive:
                found, self._end = archive.infolist(), archive.start_dir
        except DAMAGED_ZIP as error:
            damaged(self.shown, "an undamaged zip archive", quoted(error))
        # The names share a first folder, which is the archive's own name.
        folder = found[0].filename.partition("/")[0] + "/" if found else ""
        for info in found:
            name = info.filename.removeprefix(folder)
            if name in self._records:
                damaged(self.shown, "one record of each name", f"{quoted(name)} twice")
            plain = (
                info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
            )
            self._records[name] = Record(info.header_offset, info.file_size, info.CRC, plain)
        self.bytes_read = stream.bytes_read
        self._headers = sorted(record.header for record in self._records.values())
        if len(set(self._headers)) != len(self._headers):
            damaged(self.shown, "records that follow one another", "two at the same place")

    def size(self, name: str) -> int | None:
        """Return the bytes in a record; None where there is none."""
        record = self._records.get(name)
        return None if record is None else record.size

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def span(self, name: str) -> Span:
        """Return where the bytes of a record are, once its own header has been compared.

        Raises
        ------
        SourceError
            If there is no such record, or it is not where the archive says, or reaches into the
            next one.
        """
        if name not in self._records:
            damaged(self.shown, f"a record {quoted(name)}", "an archive without it")
        record = self._records[name]
        if not record.plain:
            damaged(self.shown, "records that are not compressed", f"{quoted(name)} that is")
        if not 0 <= record.header <= self._end - _LOCAL_HEADER.size:
            damaged(self.shown, f"{quoted(name)} within the file", f"byte {record.header}")
        header = self.source.read(record.header, record.header + _LOCAL_HEADER.size)
        magic, flags, method, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if magic != MAGIC or flags & 1 or method != zipfile.ZIP_STORED:
            damaged(self.shown, f"the plain record {quoted(name)}", quoted(bytes(header)))
        start = record.header + _LOCAL_HEADER.size + name_length + extra_length
        after = bisect_right(self._headers, record.header)
        most = self._headers[after] if after < len(self._headers) else self._end
        if start + record.size > most:
            damaged(
                self.shown,
                f"{record.size} bytes in {quoted(name)}",
                f"{max(most - start, 0)} bytes before the next record",
            )
        return start, start + record.size

    def read(self, name: str, most: int) -> bytes:
        """Return the bytes of a small record.

        Raises
        ------
        SourceError
            If there is none, it is larger than ``most`` bytes, or its checksum does not fit.
        """
        start, stop = self.span(name)
        if stop - start > most:
            damaged(self.shown, f"at most {most} bytes in {quoted(name)}", f"{stop - start} bytes")
        content = bytes(self.source.read(start, stop))
        self.bytes_read += _LOCAL_HEADER.size + len(content)
        self.check(name, content)
        return content

    def check(self, name: str, content: bytes | memoryview) -> None:
        """Compare all bytes of a record with its checksum, where it has one.

        Raises
        ------
        SourceError
            If they differ.
        """
        crc = self._records[name].crc  # torch can be told to write none, and writes 0
        if crc and zlib.crc32(content) != crc:
            damaged(self.shown, f"{quoted(name)} as its checksum says", "other bytes")


class _Stream:
    """A byte source as zipfile expects a file, of which it reads the list of records alone."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._at, self.bytes_read = source, 0, 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        if not 0 <= base + offset <= self._source.size:
            raise ValueError("a position outside the file")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        left = self._source.size - self._at
        count = min(size, left) if size >= 0 else left
        self.bytes_read += count
        if self.bytes_read > LARGEST_DIRECTORY:
            raise ValueError(f"a list of records of more than {LARGEST_DIRECTORY} bytes")
        self._at += count
        return bytes(self._source.read(self._at - count, self._at))


def damaged(shown: str, expected: str, got: str) -> NoReturn:
    """Raise the error for a torch file that is not sound."""
    raise SourceError(
        f"{shown} is not a sound torch file",
        expected=expected,
        got=got,
        remedy="download or save it again",
    )
