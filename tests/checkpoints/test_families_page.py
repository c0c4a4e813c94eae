"""``docs/families.md`` says what the table of families holds, and its tensor names are real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from containers import Shapes, config_of

from poslens.checkpoints.families import FAMILIES
from poslens.checkpoints.families.biased import AlibiEntry
from poslens.checkpoints.families.document import families_page, main
from poslens.checkpoints.families.speech import ConvolutionEntry

PAGE = Path(__file__).parents[2] / "docs" / "families.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == families_page(FAMILIES), (
        "write it with `python -m poslens.checkpoints.families.document docs/families.md`"
    )


def test_every_family_is_listed() -> None:
    listed = set(re.findall(r"^\| `([^`]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == FAMILIES.keys()
    assert len(listed) >= 30
    assert f"knows {len(listed)} kinds of model" in PAGE.read_text(encoding="utf-8")


def test_rows_have_the_columns_of_their_table() -> None:
    columns = 0
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| model_type"):
            columns = line.count("|")
        assert not line.startswith("|") or line.count("|") == columns


def test_it_is_written_whole(tmp_path: Path) -> None:
    main([str(tmp_path / "families.md")])
    assert (tmp_path / "families.md").read_bytes() == PAGE.read_bytes()


# Of every family whose bias or vectors are stored, a config that turns them on, and a shape.
STORED: dict[str, tuple[dict[str, object], tuple[int, ...]]] = {
    "bert": ({"position_embedding_type": "relative_key"}, (1023, 64)),
    "deberta": ({"relative_attention": True, "pos_att_type": "c2p"}, (1024, 768)),
    "beit": ({"use_relative_position_bias": True}, (732, 12)),
    "swin": ({}, (169, 3)),
    "swinv2": ({}, (512, 2)),
    "t5": ({}, (32, 8)),
    "longt5": ({}, (32, 8)),
    "mpnet": ({}, (32, 12)),
    "wavlm": ({}, (320, 12)),
}


@pytest.mark.parametrize("family", STORED)
def test_names_on_the_page_are_those_that_are_found(family: str) -> None:
    values, shape = STORED[family]
    config = config_of(values | {"model_type": family})
    checked = 0
    for mechanism in FAMILIES[family].mechanisms:
        if isinstance(mechanism, AlibiEntry | ConvolutionEntry):
            continue
        for name in re.findall(r"`(\S+\.\S+)`", mechanism.where):
            stack = "encoder." if name.startswith("block.") else ""
            tensor = stack + name.replace(".N.", ".3.")
            records = mechanism.acting(config, Shapes(**{tensor: shape}))
            assert tensor in {one for record in records for one in record.tensors}
            checked += 1
    assert checked
