"""`compress` and `extend` on the command line: one line for what cannot be, nothing half done."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import transformers as hf
from edit_sources import byte_tokenizer, process, refused, saved, text_file
from written_models import bytes_of

OUT = "out"


@pytest.fixture
def table(tmp_path: Path, curve: np.ndarray) -> Path:
    path = tmp_path / "table.npy"
    np.save(path, curve)
    return path


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("llama", tmp_path_factory.mktemp("llama") / "model")


@pytest.fixture(scope="module")
def bloom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("bloom", tmp_path_factory.mktemp("bloom") / "model")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rank", 25), ["rank", "from 1 to 24", "131 × 24", "25"]),
        (("--rank", 0), ["rank", "from 1 to 24", "'0'"]),
        (("--size", 0), ["size above 0"]),
        (("--size", 0.001), ["size of at least"]),
        (("--error", "nan"), ["error of at least 0", "nan"]),
        (("--tolerance", 0), ["tolerance", "above 0"]),
        (("--rank", 3, "--size", 0.5), ["one of rank, size, error and tolerance", "rank and size"]),
        (("--rank", 3, "--tolerance", 0.1), ["rank and tolerance"]),
        (("--method", "spine"), ["svd, cosine, spline, cosine+svd, spline+svd", "mean spline?"]),
        (("--bar", "nan"), ["memory.compressible", "finite"]),
        (("--seed", -1), ["seed", "from 0"]),
        (("--contexts", 0), ["--contexts", "from 1"]),
        (("--contexts", 2), ["no model that could read a text", "leave the text out"]),
        (("--tolerance", 0.01), ["no model that could read a text"]),
        (("--part", "encoder"), ["encoder"]),
        (("--html", "no/such/page.html"), ["cannot write", "folder does not exist"]),
        (("--out", OUT), ["NumPy file", "give the model"]),
    ],
)
def test_compress_of_a_table(
    table: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], words: list[str]
) -> None:
    monkeypatch.chdir(table.parent)
    line = refused("compress", table, *arguments)
    assert all(word in line for word in words), line
    assert [path.name for path in table.parent.iterdir()] == [table.name]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--to", 131), ["131 positions", "at least 132", "'131'"]),
        (("--to", 130), ["at least 132"]),
        (("--to", -4), ["at least 132"]),
        (("--to", 12_000_000), ["too large", "to 11184810"]),
        (("--to", 200, "--method", "tiled"), ["tile", "repeat_last", "hierarchical", "mean tile?"]),
        (("--to", 200, "--method", "yarn"), ["no method 'yarn'", "cubic"]),
        (("--to", 17162, "--method", "hierarchical"), ["17161"]),
        (("--to", 200, "--trained", 2), ["trained length", "at least 3"]),
        (("--to", 200, "--trained", 132), ["trained length", "at most 131"]),
        (("--to", 130, "--trained", 100), ["at least 131"]),
        (("--to", 200, "--contexts", 2), ["no model that could read a text"]),
        (("--to", 200, "--contexts", 2, "--stride", 132), ["stride", "from 1 to 131"]),
        (("--to", 200, "--out", OUT), ["NumPy file"]),
        (("--to", 200, "--json", "no/such.json"), ["cannot write"]),
    ],
)
def test_extend_of_a_table(
    table: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...], words: list[str]
) -> None:
    monkeypatch.chdir(table.parent)
    line = refused("extend", table, *arguments)
    assert all(word in line for word in words), line
    assert [path.name for path in table.parent.iterdir()] == [table.name]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_table_that_is_not_finite(tmp_path: Path, curve: np.ndarray, bad: float) -> None:
    curve = curve.copy()
    curve[7, 3] = bad
    path = tmp_path / "bad.npy"
    np.save(path, curve)
    for arguments in (("compress", path), ("extend", path, "--to", 200)):
        line = refused(*arguments)
        assert "NaN or infinite" in line
        assert "1 of 131 rows that are not: 7" in line


def test_formulas() -> None:
    sinusoidal = "sinusoidal:length=64,dim=32"
    assert "a formula, which has a value for every position" in refused(
        "extend", sinusoidal, "--to", 128
    )
    line = refused("extend", "nope", "--to", 128)
    assert "got no position at all" in line
    assert "formula" not in line
    assert "no table to compress" in refused("compress", "alibi:heads=12")
    assert "no checkpoint to write" in refused("compress", sinusoidal, "--out", OUT)


def test_schemes_without_a_table(llama: Path, bloom: Path, tmp_path: Path) -> None:
    for folder, word in ((llama, "RoPE"), (bloom, "ALiBi")):
        line = refused("compress", folder)
        assert all(each in line for each in ("no table to compress", word, "`poslens extend`"))
    line = refused("extend", llama, "--to", 86, "--method", "tile")
    assert "of the kind rope: expected unchanged or linear or ntk or dynamic or yarn" in line
    assert "give --trained" in refused("extend", bloom, "--to", 86)
    out = ("--trained", 43, "--method", "unchanged", "--out", tmp_path / OUT)
    assert "nothing to write" in refused("extend", bloom, "--to", 86, *out)
    assert not (tmp_path / OUT).exists()


def test_where_a_folder_cannot_be_written(llama: Path, tmp_path: Path) -> None:
    before = bytes_of(llama)
    scaled = ("extend", llama, "--to", 86, "--method", "linear", "--out")
    assert "one that exists" in refused(*scaled, tmp_path)
    assert "the source, which is never changed" in refused(*scaled, llama / OUT)
    assert "folder above it that does not exist" in refused(*scaled, tmp_path / "no" / OUT)
    assert "which method to write" in refused("extend", llama, "--to", 86, "--out", tmp_path / OUT)
    assert bytes_of(llama) == before
    assert list(tmp_path.iterdir()) == []


def test_gguf_is_read_and_not_written(smollm2_path: Path, tmp_path: Path) -> None:
    line = refused("extend", smollm2_path, "--to", 16384, "--contexts", 1, "--out", tmp_path / OUT)
    assert "a GGUF file, which is read alone" in line
    assert "give the model that it was converted from" in line
    assert list(tmp_path.iterdir()) == []


def test_a_text_that_is_too_short(llama: Path, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("a" * 85)
    line = refused("extend", llama, "--to", 86, "--text", text)
    assert "85" in line
    assert "86" in line
    line = refused("compress", "demo", "--length", 513, "--contexts", 1)
    assert "at most 512 tokens" in line


def test_a_model_of_two_stacks(tmp_path: Path) -> None:
    config = hf.LongT5Config(vocab_size=260, d_model=24, num_layers=1, num_heads=6, d_kv=4, d_ff=9)
    hf.LongT5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    byte_tokenizer().save(str(tmp_path / "t5/tokenizer.json"))
    line = refused("extend", tmp_path / "t5", "--to", 64, "--trained", 32, "--contexts", 1)
    assert "an encoder and a decoder of the kind 'longt5': its gaps are whole sentences" in line


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else plain(name)
    )
    for arguments in (("compress", "demo"), ("extend", "demo", "--to", 1024)):
        line = refused(*arguments, "--contexts", 1)
        assert 'got no torch; pip install "poslens[torch]"' in line


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """No file may pass a size that the table alone fits into."""
    code = (
        "import resource, sys, poslens.cli\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "sys.argv = ['poslens', 'compress', 'demo', '--rank', '7', '--out', sys.argv[1]]\n"
        "poslens.cli.app()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / OUT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "cannot write the folder" in line
    assert "make room" in line
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_head(minilm: Path, tmp_path: Path) -> None:
    text = text_file(tmp_path)
    read = ("--text", text, "--contexts", 1)
    line = refused("compress", minilm, "--tolerance", 0.01, *read, "--length", 9)
    assert "no loss to keep within a tolerance" in line
    assert "--rank, --size or --error" in line
    line = refused("extend", minilm, "--to", 600, *read, "--out", tmp_path / OUT)
    assert "no method was chosen" in line
    assert not (tmp_path / OUT).exists()


def test_tables_alone_need_no_torch() -> None:
    code = (
        "import sys, numpy, poslens\n"
        "table = numpy.cumsum(numpy.random.default_rng(0).standard_normal((65, 12)), axis=0)\n"
        "poslens.compress(table, rank=3), poslens.extend(table, 129)\n"
        "poslens.extend('demo', 1024)\n"
        "print(sorted({'torch', 'transformers'} & {*sys.modules}))\n"
    )
    assert process(code).stdout.strip() == "[]"
