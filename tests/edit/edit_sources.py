"""Tiny models on disk with tokenizers and texts, for the commands; and their losses by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from edited_models import ENCODERS, POSITIONS, tiny
from tokenizers import Tokenizer, processors
from typer.testing import CliRunner, Result

import poslens
from poslens.cli import app

hf.utils.logging.disable_progress_bar()
hf.utils.logging.set_verbosity_error()

BYTES = 256
CLS, SEP, MASK = "[CLS]", "[SEP]", "[MASK]"
SIZE = {"vocab_size": BYTES + 4}
TEXT = "".join(f"{number} goats saw {number * number} boats. " for number in range(400))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def refused(*arguments: object) -> str:
    """The one line on standard error with which a command ends in status 1."""
    done = run(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("poslens: ")
    assert "fault in PosLens" not in line
    return line


def process(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def text_file(folder: Path) -> Path:
    path = folder / "goats.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def byte_tokenizer() -> Tokenizer:
    """The demo's: one token for each byte."""
    return Tokenizer.from_file(str(Path(poslens.__file__).parent / "demo/tokenizer.json"))


def saved(family: str, folder: Path, **changed: object) -> Path:
    """A tiny model with a tokenizer of bytes; an encoder's puts [CLS] and [SEP] around a text."""
    sizes = SIZE | changed
    if family in ("roberta", "mpnet"):  # which count stored rows
        sizes |= {"max_position_embeddings": ENCODERS[family]["max_position_embeddings"]}
    shard = str(sizes.pop("shard", "1GB"))
    tiny(family, **sizes).save_pretrained(folder, max_shard_size=shard)
    made, options = byte_tokenizer(), {}
    if family in ENCODERS:
        made.add_special_tokens([CLS, SEP, MASK])
        around = [(one, made.token_to_id(one)) for one in (CLS, SEP)]
        made.post_processor = processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}", special_tokens=around
        )
        options = {"cls_token": CLS, "sep_token": SEP, "mask_token": MASK}
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=POSITIONS, **options)
    fast.save_pretrained(folder)
    return folder


def losses_by_hand(folder: Path, tokens: np.ndarray) -> np.ndarray:
    """Cross entropy of every token but the first, by transformers and torch."""
    model = hf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.as_tensor(tokens)
    with torch.no_grad():
        logits = model(input_ids=ids).logits[:, :-1]
    return (
        torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1), reduction="none"
        )
        .reshape(len(ids), -1)
        .double()
        .numpy()
    )


__all__ = [
    "BYTES",
    "POSITIONS",
    "TEXT",
    "byte_tokenizer",
    "losses_by_hand",
    "process",
    "refused",
    "run",
    "saved",
    "text_file",
]
