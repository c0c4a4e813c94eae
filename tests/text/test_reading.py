"""Texts: UTF-8 files read piece by piece, what is wrong with them, and the text everyone has."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poslens.errors import SourceError
from poslens.text import default_text, read_text
from poslens.text.reading import DEFAULT_NAME

PIECE = 65_536  # bytes that are read at a time
LETTERS = "aé中\U0001f600"  # of one to four bytes


@pytest.mark.parametrize("shift", range(8))
def test_characters_that_lie_across_two_pieces(tmp_path: Path, shift: int) -> None:
    text = "a" * shift + LETTERS * 20_000
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    pieces = list(read_text(path))
    assert "".join(pieces) == text
    assert len(pieces) > 3
    assert max(map(len, pieces)) <= PIECE
    assert "".join(read_text(str(path))) == text


@pytest.mark.parametrize("filling", [0, PIECE - 1, PIECE - 2])
def test_the_ends_of_lines(tmp_path: Path, filling: int) -> None:
    """As Python reads text: also where the two characters of an end lie in two pieces."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"a" * filling + b"\r\nb\r\rc\n\r\n")
    assert "".join(read_text(path)) == path.read_text(encoding="utf-8")
    assert "".join(read_text(path)) == "a" * filling + "\nb\n\nc\n\n"


def test_only_the_first_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\ufeffa\ufeffb" * 2, encoding="utf-8")
    assert "".join(read_text(path)) == "a\ufeffb\ufeffa\ufeffb"
    path.write_text("\ufeff", encoding="utf-8")
    assert "".join(read_text(path)) == ""


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    st.text(max_size=9),
    st.sampled_from([b"\xff", b"\x80", b"\xc3", b"\xe4\xb8", b"\xf0\x9f\x98", b"\xed\xa0\x80"]),
    st.sampled_from(["", "a", "中"]),
    st.sampled_from([0, PIECE - 5, PIECE - 1, 3 * PIECE]),
)
@example("\ufeff", b"\xff", "", 0)
def test_the_byte_that_is_not_utf8_is_named(
    tmp_path_factory: pytest.TempPathFactory, before: str, wrong: bytes, after: str, filling: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "wrong.txt"
    sound = b"a" * filling + before.encode("utf-8", "replace")
    path.write_bytes(sound + wrong + after.encode())
    with pytest.raises(UnicodeDecodeError) as plain:
        path.read_bytes().decode()
    with pytest.raises(SourceError, match=r"is no text in UTF-8.*save the text in UTF-8") as caught:
        list(read_text(path))
    assert f"0x{wrong[:1].hex()} at byte {plain.value.start} (" in str(caught.value)
    assert plain.value.start == len(sound)


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for encoding in ("utf-16", "utf-16-be", "latin-1"):
        path.write_text("naïve 中".removesuffix(" 中" if encoding == "latin-1" else ""), encoding)
        with pytest.raises(SourceError, match=r"no text in UTF-8: expected UTF-8 throughout, got"):
            list(read_text(path))


def test_paths_that_are_no_text_are_refused_before_the_first_piece(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, message in {
        "absent.txt": r"absent\.txt'.*No such file",
        "": r"a regular file",
        "empty.txt": r"empty\.txt': expected a file that is not empty, got an empty file",
        "pipe": r"pipe'.*a regular file",
        "a\n\x1b[31m": r"a\\n\\x1b\[31m",
    }.items():
        with pytest.raises(SourceError, match=message) as caught:
            read_text(tmp_path / name)
        assert str(caught.value).isprintable()


def test_a_file_that_changes_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one text")
    text = read_text(path)
    path.write_text("quite another text")
    with pytest.raises(SourceError, match=r"is not as it was when it was opened"):
        next(text)


def test_the_default_text_is_the_same_each_time() -> None:
    text = "".join(default_text())
    assert text == "".join(default_text())
    assert len(text) > 200_000
    assert platform.python_version() in DEFAULT_NAME


def test_the_default_text_is_in_the_order_of_topics() -> None:
    from pydoc_data.topics import topics

    assert list(default_text()) == [topics[name] for name in sorted(topics)]
