"""The tokenizer inside a GGUF file, beside transformers' own reading of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import pytest
import transformers

from poslens.errors import SourceError
from poslens.hidden import tokenizer_in

TEXT = "How does this model know where a token is? In 2,026 ways: é, 漢字 and\ttabs."


def test_its_ids_are_those_of_transformers(
    smollm2_path: Path,
    read_gguf: Callable[[str], gguf.GGUFReader],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gguf, "GGUFReader", read_gguf)
    own = transformers.AutoTokenizer.from_pretrained(
        smollm2_path.parent, gguf_file=smollm2_path.name
    )
    tokenizer = tokenizer_in(smollm2_path)
    assert tokenizer.ids(TEXT) == own(TEXT, add_special_tokens=False)["input_ids"]
    assert "".join(tokenizer.word(one) for one in tokenizer.ids("where a token is")) == (
        "where a token is"
    )


def test_a_file_without_one_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(SourceError, match=r"no tokenizer in .*model\.gguf"):
        tokenizer_in(path)
