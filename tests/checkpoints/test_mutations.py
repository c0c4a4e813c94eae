"""20,000 mutants of each format: what is read is what another reader reads, or we say why not."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from containers import Held, Shapes, config_of
from mutation import HOSTILE, LEAST, json_mutant, mutant, outcome, put, survives
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from annotations import unchecked
from poslens.checkpoints import PositionTable, load_table
from poslens.checkpoints.byte_source import LocalFile
from poslens.checkpoints.config import Config
from poslens.checkpoints.description import Description, describe_model
from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.folder import open_sharded
from poslens.checkpoints.json_object import json_object
from poslens.checkpoints.load import table_of
from poslens.checkpoints.numpy_files import NpyFile, NpzFile
from poslens.checkpoints.opening import Checkpoint
from poslens.checkpoints.safetensors_file import NUMPY_WORDS, SafetensorsFile
from poslens.checkpoints.tensors import StoredTensor, Tensors
from poslens.errors import PosLensError, quoted

TABLE = np.arange(1, 22, dtype=np.float32).reshape(7, 3) / 7
OTHER = np.arange(1, 21, dtype=np.float16).reshape(5, 4)
Content = dict[str, tuple[str, tuple[int, ...], bytes]]  # dtype, shape, bytes

MODEL = save(
    {"wpe.weight": TABLE, "counts": np.arange(3), "none": OTHER[:0]},
    metadata={"format": "np"},
)
WORDS = save({"wte.weight": TABLE[:2], "other": OTHER})


def everything(tensors: Tensors) -> Content:
    """All that can be read of a container."""
    entries = {name: tensors.entry(name) for name in tensors.names()}
    return {
        name: (entry.dtype, entry.shape, bytes(tensors.read(name).raw))
        for name, entry in entries.items()
        if entry.floating
    }


def by_reference(content: bytes) -> Content:
    """The same, by the safetensors library."""
    return {
        name: (NUMPY_WORDS[one["dtype"]], tuple(one["shape"]), bytes(one["data"]))
        for name, one in deserialize(content)
        if one["dtype"] in NUMPY_WORDS
    }


STRICTER = re.compile(
    r"the key .* twice|name of more than|shape of whole numbers|most 64 dimens|most 4096 bytes for"
)


def reference_reads(content: bytes) -> bool:
    try:
        deserialize(content)
    except SafetensorError:
        return False
    return True


def safetensors_mutant(random: Random) -> bytes:
    """Damage to the bytes, or to the JSON alone, under a length that fits."""
    if random.random() < 0.5:
        return mutant(random, MODEL, WORDS)
    stop = 8 + int.from_bytes(MODEL[:8], "little")
    header = json_mutant(random, MODEL[8:stop])
    return len(header).to_bytes(8, "little") + header + MODEL[stop:]


def test_safetensors_files(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"

    def check(content: bytes) -> bool:
        put(path, content)
        found = outcome(lambda: everything(SafetensorsFile(LocalFile(path))))
        if isinstance(found, PosLensError):
            # Of what the library reads, this alone is refused.
            assert STRICTER.search(str(found)) or not reference_reads(content)
            return False
        assert found == by_reference(content)
        if "wpe.weight" not in found:
            return True
        table = outcome(lambda: load_table(f"{path}::wpe.weight"))
        if not isinstance(table, PosLensError):
            _, shape, data = found["wpe.weight"]
            assert table.rows.shape == shape[-2:]
            assert table.source.bytes_read == len(data)
            assert np.isfinite(table.rows).all()
        return True

    survives([MODEL, WORDS], safetensors_mutant, check)


def test_indexes_and_shards(tmp_path: Path) -> None:
    shards = {"one.safetensors": MODEL, "two.safetensors": WORDS}
    files = {
        "wpe.weight": "one.safetensors",
        "counts": "one.safetensors",
        "wte.weight": "two.safetensors",
    }
    index = {"metadata": {"total_size": 200, "by": ["x", {}]}, "weight_map": files}
    valid = {"model.safetensors.index.json": json.dumps(index).encode(), **shards}
    (tmp_path / "outside.safetensors").write_bytes(MODEL)
    folder = tmp_path / "model"
    folder.mkdir()

    def mutate(random: Random) -> bytes:
        """A byte that says which file is damaged, and what it becomes."""
        which = random.choice((0, 0, 1, 2))
        content = list(valid.values())[which]
        damaged = (
            json_mutant(random, content)
            if which == 0 and random.random() < 0.7
            else mutant(random, content, WORDS)
        )
        return bytes([which]) + damaged

    def check(content: bytes) -> bool:
        now = valid | {list(valid)[content[0]]: content[1:]}
        for name, text in now.items():
            put(folder / name, text)
        found = outcome(lambda: everything(open_sharded(folder / next(iter(valid)))))
        if not isinstance(found, PosLensError):
            # Numbers as text: Python refuses those of thousands of digits.
            index = json.loads(now["model.safetensors.index.json"], parse_int=str)
            named = index["weight_map"]
            assert all((folder / file).resolve().parent == folder for file in named.values())
            inside = {file: by_reference((folder / file).read_bytes()) for file in named.values()}
            assert found == {n: inside[f][n] for n, f in named.items() if n in inside[f]}
        return not isinstance(found, PosLensError)

    unharmed = [bytes([which]) + content for which, content in enumerate(valid.values())]
    survives(unharmed, mutate, check)


# --- NumPy ---------------------------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


NPY = [npy(TABLE), npy(np.asfortranarray(TABLE.astype(">f8"))), npy(OTHER)]
LITERALS = (
    *(
        "'<f4'",
        "'>f8'",
        "'<f2'",
        "'|O'",
        "'<c8'",
        "'f4,f4'",
        "'(2,)f4'",
        "'V9999999999'",
        "'m8[s]'",
    ),
    *(
        "[('a', '<f4')]",
        "[('a', '|O')]",
        "[]",
        "{}",
        "()",
        "None",
        "True",
        "1",
        "-1",
        "''",
        "'\\0'",
    ),
    *("(7, 3)", "(3, 7)", "(21,)", "(7, 3, 1)", "(0, 4611686018427387904)", "(-7, -3)", "(7.0, 3)"),
    *("(True, 21)", "(2**4,)", "(4611686018427387904, 4, 4611686018427387904)", "[7, 3]", "7"),
    *(
        "(9" + "9" * 5000 + ",)",
        "((((((7, 3))))))",
        "-" * 500 + "1",
        "lambda: 0",
        "f'{7}'",
        "(7j,)",
    ),
    *("b'<f4'", "'float32'", "'<f4 '", "'M8[99999999999999999999s]'", "'S0'", "'U2147483647'"),
)


def npy_mutant(random: Random) -> bytes:
    """Damage to the bytes, or to a value of the header, under a length that fits."""
    valid = random.choice(NPY)
    if random.random() < 0.6:
        return mutant(random, valid, random.choice(NPY))
    length = int.from_bytes(valid[8:10], "little")
    header: dict[str, str] = {
        key: repr(value)
        for key, value in eval(valid[10 : 10 + length]).items()  # noqa: S307 - NumPy's own
    }
    for key in random.choices(list(header), k=random.choice((1, 1, 2))):
        header[key] = random.choice(LITERALS)
    text = "{" + ", ".join(f"{key!r}: {value}" for key, value in header.items()) + "}\n"
    version = random.choice((b"\x01\0", b"\x02\0", b"\x03\0"))
    count = len(text).to_bytes(2 if version[0] == 1 else 4, "little")
    return valid[:6] + version + count + text.encode() + valid[10 + length :]


def same(stored: StoredTensor, array: np.ndarray) -> bool:
    """Whether these are the same array, bit by bit."""
    entry = stored.entry
    bits = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C").tobytes()
    return (entry.dtype, entry.shape, bytes(stored.raw)) == (array.dtype.name, array.shape, bits)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning:numpy")
def test_npy_files(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"

    def check(content: bytes) -> bool:
        put(path, content)
        stored = outcome(lambda: NpyFile(path).read(""))
        if isinstance(stored, PosLensError):
            return False
        assert same(stored, np.load(path, allow_pickle=False))
        table = outcome(lambda: load_table(path))
        assert isinstance(table, PosLensError) or np.isfinite(table.rows).all()
        return True

    survives(NPY, npy_mutant, check)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning:numpy")
def test_npz_archives(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"

    def zipped(*members: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            for number, member in enumerate(members):
                archive.writestr(f"{number}.npy", member)
        return buffer.getvalue()

    valid = [zipped(*NPY, method=how) for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)]

    def mutate(random: Random) -> bytes:
        if random.random() < 0.8:
            return mutant(random, random.choice(valid), random.choice(valid))
        method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        return zipped(npy_mutant(random), NPY[0], method=method)

    def check(content: bytes) -> bool:
        put(path, content)
        archive = outcome(lambda: NpzFile(path))
        read = 0
        for name in archive.names() if isinstance(archive, NpzFile) else ():
            stored = outcome(lambda name=name: archive.read(name))
            if isinstance(stored, StoredTensor):
                read += 1
                with np.lib.npyio.NpzFile(path.open("rb"), own_fid=True) as reference:
                    assert same(stored, reference[name])
        return read > 0

    survives(valid, mutate, check)


# --- configs -------------------------------------------------------------------------------------

CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("wpe.weight", {"initializer_range": 0.02, "n_positions": 7}),
    "roberta": (
        "embeddings.position_embeddings.weight",
        {"pad_token_id": 1, "position_embedding_type": "absolute", "vocab_size": 9},
    ),
    "opt": (
        "decoder.embed_positions.weight",
        {"init_std": 0.02, "do_layer_norm_before": True, "layer_norm_elementwise_affine": True},
    ),
    "clip": (
        "text_model.embeddings.position_embedding.weight",
        {"text_config": {"initializer_factor": 1.0}, "vision_config": {"a": [1, {"b": 2}]}},
    ),
    "distilbert": (
        "embeddings.position_embeddings.weight",
        {"sinusoidal_pos_embds": False, "initializer_range": 0.02},
    ),
}


def test_configs(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    tensors = Held(**{tensor: TABLE for tensor, _ in CONFIGS.values()})
    valid = [
        json.dumps({"model_type": family, **values}).encode()
        for family, (_, values) in CONFIGS.items()
    ]

    def mutate(random: Random) -> bytes:
        if random.random() < 0.8:
            return json_mutant(random, random.choice(valid))
        return mutant(random, random.choice(valid), random.choice(valid))

    def load() -> PositionTable:
        config = Config(json_object(LocalFile(path)), quoted(path))
        return table_of(Checkpoint(tensors, config, str(path)), None, with_tokens=True)

    def check(content: bytes) -> bool:
        put(path, content)
        table = outcome(load)
        if isinstance(table, PositionTable):
            np.testing.assert_array_equal(table.rows, TABLE[table.source.row_offset :])
            assert table.source.family == json.loads(content)["model_type"]
            assert table.init_std is None or 0 < table.init_std < 1e301
        return isinstance(table, PositionTable)

    survives(valid, mutate, check)


class Asked(dict[str, Any]):
    """A config that knows which of its keys were asked for."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.keys_asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.keys_asked.add(key)
        return super().get(key, default)


# Those that `json` admits, and what is right for one key or another.
VALUES: list[Any] = [
    *(True, 8, 12, 64, 0.5, 10_000.0, "alibi", "rotary", "relative_key", "yarn", "c2p|p2c", "half"),
    *({"rope_type": "yarn", "factor": 4.0}, {"type": "linear", "factor": [1]}, {"rope_theta": 0}),
    *({"full_attention": {"rope_theta": 5}}, {"full_attention": 3}, {"alibi": True}),
    *(["full_attention"] * 40, ["c2p"], [1] * 100, [0] * 100, 100_000, 100_001),
]


def admitted() -> Iterator[Any]:
    for text in HOSTILE:
        try:
            yield json.loads(text)
        except (ValueError, RecursionError):
            continue


def test_every_value_of_every_familys_config() -> None:
    """Each key that a family looks at, in the config or a section of it, with every value.

    The annotations are checked with every twentieth, so that they are in every family.
    """
    deep: Any = 0
    for _ in range(300):
        deep = [deep]
    values = [*VALUES, *admitted(), deep]
    names = {
        prefix + name: (7, 3)
        for family in FAMILIES.values()
        for part in family.parts
        for prefix in part.prefixes
        for name in part.position
    }
    bias = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
    names |= {bias.format(digits): (32, 8) for digits in ("0", "10", "9" * 5000)}
    tensors = Shapes(**names)
    tried = described = 0

    def describe(config: dict[str, Any]) -> set[str]:
        nonlocal tried, described
        asked = Asked(config)
        with nullcontext() if tried % 20 == 0 else unchecked():
            found = outcome(lambda: describe_model(tensors, config_of(asked)))
        tried += 1
        if isinstance(found, Description):
            described += 1
            assert found.line().isprintable()
            assert found.context is None or type(found.context) is int
        return asked.keys_asked

    for family in FAMILIES:
        plain = {"model_type": family}
        known, todo = set(), sorted(describe(plain))
        while todo:
            key = todo.pop()
            known.add(key)
            for value in values:
                if key != "model_type":
                    todo += sorted(describe(plain | {key: value}) - known - set(todo))
            inner = Asked({})
            with_section = config_of(plain | {key: inner})
            outcome(lambda config=with_section: describe_model(tensors, config))
            for below in sorted(inner.keys_asked):
                for value in values:
                    describe(plain | {key: {below: value}})
    assert tried >= LEAST
    assert 0.1 < described / tried < 0.9
