"""Small tokenizers of every kind, made by the library that reads them."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer, UnigramTrainer

from poslens import text

SPACE = "▁"
UNKNOWN, UNSEEN = "[UNK]", "<unk>"
# How GPT-4 and Llama 3 split a text: a line's end stays with the punctuation before it.
BY_LINES = Regex(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = ["the cat sat on the mat, and the hat", "a hat that the cat has; a mat it had"] * 4


def opened(made: Tokenizer) -> text.Tokenizer:
    """What PosLens makes of it."""
    return text.Tokenizer(made.to_str().encode(), "'made'")


def changed(made: Tokenizer, **parts: Any) -> bytes:
    """Its ``tokenizer.json`` with other parts."""
    return json.dumps(json.loads(made.to_str()) | parts).encode()


def words(*vocabulary: str) -> Tokenizer:
    """A word is what white space separates; id 0 stands for all that are unknown."""
    ids = {word: number for number, word in enumerate((UNKNOWN, *vocabulary))}
    made = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def framed(made: Tokenizer, before: str = "[CLS]", after: str = "[SEP]") -> Tokenizer:
    """The same with special tokens around every text."""
    made.add_special_tokens([before, after])
    specials = [(name, made.token_to_id(name)) for name in (before, after)]
    made.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}", special_tokens=specials
    )
    return made


def word_pieces() -> Tokenizer:
    """As BERT's: accents and capitals dropped, words of pieces, [CLS] and [SEP]."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [UNKNOWN, "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters), "the", "##at", "."]
    made = Tokenizer(
        models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token=UNKNOWN)
    )
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return made


def byte_pairs(*, prefix: bool = False) -> Tokenizer:
    """As GPT-2's: the space belongs to the word after it."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    return _paired(made, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def by_lines() -> Tokenizer:
    """As Llama 3's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(BY_LINES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    return _paired(made, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def unsplit(*, prepends: bool) -> Tokenizer:
    """As Llama 2's and Gemma's: no words, merges over all of the text; perhaps a first space."""
    made = Tokenizer(models.BPE(unk_token=UNSEEN))
    replaced = normalizers.Replace(" ", SPACE)
    made.normalizer = (
        normalizers.Sequence([normalizers.Prepend(SPACE), replaced]) if prepends else replaced
    )
    made.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _paired(made, special_tokens=[UNSEEN])


def metaspace(scheme: str = "always") -> Tokenizer:
    """As newer conversions of SentencePiece."""
    made = Tokenizer(models.BPE(unk_token=UNSEEN))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return _paired(made, special_tokens=[UNSEEN])


def unigrams() -> Tokenizer:
    """As T5's: compatibility forms and runs of spaces made one."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = UnigramTrainer(
        vocab_size=60, special_tokens=[UNSEEN], unk_token=UNSEEN, show_progress=False
    )
    made.train_from_iterator(CORPUS, trainer)
    return made


def _paired(made: Tokenizer, **settings: Any) -> Tokenizer:
    trainer = BpeTrainer(vocab_size=320, show_progress=False, **settings)
    made.train_from_iterator(CORPUS, trainer)
    return made


EVERY_KIND = {
    "WordPiece": word_pieces,
    "byte-level": byte_pairs,
    "byte-level with a first space": lambda: byte_pairs(prefix=True),
    "byte-level by lines": by_lines,
    "unsplit": lambda: unsplit(prepends=False),
    "unsplit with a first space": lambda: unsplit(prepends=True),
    "metaspace": metaspace,
    "metaspace before the first": lambda: metaspace("first"),
    "Unigram": unigrams,
}
