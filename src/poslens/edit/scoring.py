"""`score` and `drift`: what each variant of a model predicts, and how far its states move.

Batches are gone through once, and every variant reads each. The distributions of the variant that
others are compared with are kept for one batch, so that memory does not grow with contexts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from poslens.axes import Tokens
from poslens.checkpoints.remote.meter import Progress
from poslens.edit.models import LanguageModel, Variant
from poslens.edit.questions import MASKED, Questions, asked, check_tokens
from poslens.edit.running import logits_of, states_of
from poslens.edit.scores import Drift, Scores
from poslens.errors import SettingError, SourceError, UndefinedMeasureError, quoted

if TYPE_CHECKING:
    import torch

TOKENS = 2**14  # that a model reads at once, if they are of more than one context
LOGITS = 2**26  # that are kept at once, if they are of more than one context: 256 MB
CHUNK = 2**18  # logits that are normalised at once

Answers = Float[np.ndarray, "context scored"]


def score(
    model: LanguageModel,
    variants: Mapping[str, Variant],
    tokens: Tokens,
    *,
    against: str | None = None,
    seed: int = 0,
    masked: int = MASKED,
    progress: Progress | None = None,
) -> dict[str, Scores]:
    """Score the tokens that each variant of a model predicts.

    A causal model predicts every token but the first of a context from those before it. A masked
    model predicts the tokens at some positions, each masked by itself and seen from both sides:
    pseudo-perplexity (Salazar et al. 2020, arXiv:1910.14659, section 2.3).

    Parameters
    ----------
    variants
        By name.
    tokens
        Contexts of token ids, shape (context, position).
    against
        The name of the variant whose distributions all are compared with.
    seed
        Of the masked positions, which are the same for all variants.
    masked
        How many positions of a context are masked: one in each of so many equal stretches.
    progress
        Called with (words, batches read, batches in all), over all variants.

    Raises
    ------
    SettingError
        If the model has no head or no mask, the tokens do not fit it, or a variant has fewer
        positions than a context: before any is read.
    SourceError
        If a variant cannot read the tokens, or its loss is no number.
    """
    questions, positions = asked(model, tokens, masked, seed)
    found = answers(model, variants, questions, against, progress)
    return {
        name: Scores(
            positions,
            losses.reshape(positions.shape),
            None if divergences is None else divergences.reshape(positions.shape),
        )
        for name, (losses, divergences) in found.items()
    }


def answers(
    model: LanguageModel,
    variants: Mapping[str, Variant],
    questions: Questions,
    against: str | None = None,
    progress: Progress | None = None,
) -> dict[str, tuple[Answers, Answers | None]]:
    """Return each variant's losses, and its divergences if it is compared with another.

    Raises
    ------
    SettingError
        If a variant has fewer positions than the contexts, or there is none to compare with.
    SourceError
        If a variant cannot read the tokens, or its loss is no number.
    """
    order = _ordered(variants, against)
    _require_positions(model, variants, questions.ids.shape[1])
    shape = questions.targets.shape
    losses = {name: np.empty(shape) for name in order}
    divergences = {name: np.empty(shape) for name in order if against is not None}
    scored = 1 if questions.places is not None else questions.ids.shape[1]
    parts = list(batches(len(questions.ids), questions.ids.shape[1], scored * model.vocabulary))
    report = progress or (lambda *_: None)
    for number, rows in enumerate(parts):
        part, kept = questions.some(rows), None
        for step, name in enumerate(order):
            report("tokens predicted", number * len(order) + step, len(parts) * len(order))
            logits = logits_of(variants[name](), part.ids, part.places).contiguous()
            found, divergence = _answered(logits, part, kept)
            if not np.isfinite(found).all():
                raise _no_number(name)
            losses[name][rows] = found
            if name == against:
                kept = logits  # by now the logarithms of probabilities
                divergences[name][rows] = 0
            elif divergence is not None:
                divergences[name][rows] = divergence
            del logits  # before the next are made
    report("tokens predicted", len(parts) * len(order), len(parts) * len(order))
    return {name: (losses[name], divergences.get(name)) for name in variants}


def batches(contexts: int, length: int, logits: int = 0) -> Iterator[slice]:
    """Yield contexts that are read at once: as many as `TOKENS` and `LOGITS` allow, at least one.

    Parameters
    ----------
    contexts, length
        How many there are, and how many tokens each has.
    logits
        That a model gives for one.
    """
    size = max(min(TOKENS // length, LOGITS // max(logits, 1)), 1)
    for first in range(0, contexts, size):
        yield slice(first, min(first + size, contexts))


def _answered(
    logits: torch.Tensor, questions: Questions, kept: torch.Tensor | None
) -> tuple[Answers, Answers | None]:
    """Return the loss of each target, and the divergence from what is kept.

    The logits become the logarithms of probabilities, in place: there is no room for both.
    """
    import torch

    # The last logits of a causal model predict what is not there: they are dropped at the end.
    targets = np.zeros(logits.shape[:2], np.int64)
    targets[:, : questions.targets.shape[1]] = questions.targets
    wanted = torch.as_tensor(targets.reshape(-1), device=logits.device)
    flat = logits.reshape(-1, logits.shape[-1])
    others = None if kept is None else kept.reshape(flat.shape)
    losses, divergences = np.empty(len(flat)), np.empty(len(flat))
    size = max(CHUNK // flat.shape[1], 1)
    for first in range(0, len(flat), size):
        some = slice(first, first + size)
        flat[some] = torch.log_softmax(flat[some], dim=-1)
        chosen = flat[some].gather(1, wanted[some, None])[:, 0]
        losses[some] = -chosen.double().cpu().numpy()
        if others is not None:
            divergences[some] = _divergence(others[some], flat[some]).cpu().numpy()
    counted = slice(questions.targets.shape[1])
    shaped = [one.reshape(targets.shape)[:, counted] for one in (losses, divergences)]
    return shaped[0], None if kept is None else shaped[1]


def _divergence(kept: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return KL(kept ‖ other) of each row's distribution, in float64; 0 · log 0 is 0."""
    import torch

    shares = kept.exp()
    terms = torch.where(shares > 0, shares * (kept - other), 0)
    return terms.sum(-1, dtype=torch.float64)


def drift(
    model: LanguageModel,
    variants: Mapping[str, Variant],
    tokens: Tokens,
    *,
    against: str,
    progress: Progress | None = None,
) -> dict[str, Drift]:
    """Compare the last hidden states of each variant with those of one of them.

    Parameters
    ----------
    variants
        By name.
    tokens
        Contexts of token ids, shape (context, position).
    against
        The name of the variant that all are compared with.
    progress
        Called with (words, batches read, batches in all), over all variants.

    Raises
    ------
    SettingError
        If the tokens do not fit the model, or a variant has fewer positions than a context.
    SourceError
        If a variant cannot read the tokens.
    UndefinedMeasureError
        If a state is zero or no number, and has no direction.
    """
    check_tokens(model, tokens, least=1)
    order = _ordered(variants, against)
    _require_positions(model, variants, tokens.shape[1])
    found = {name: (np.empty(tokens.shape), np.empty(len(tokens))) for name in order}
    parts = list(batches(len(tokens), tokens.shape[1]))
    report = progress or (lambda *_: None)
    for number, rows in enumerate(parts):
        kept = None
        for step, name in enumerate(order):
            report("states", number * len(order) + step, len(parts) * len(order))
            states = states_of(variants[name](), tokens[rows], model.part)
            kept = states if kept is None else kept
            for values, one, other in zip(
                found[name],
                (states, states.mean(dim=1)),
                (kept, kept.mean(dim=1)),
                strict=True,
            ):
                values[rows] = _cosines(one, other, name)
    report("states", len(parts) * len(order), len(parts) * len(order))
    return {name: Drift(*found[name]) for name in variants}


def _cosines(one: torch.Tensor, other: torch.Tensor, name: str) -> np.ndarray:
    norms = one.norm(dim=-1) * other.norm(dim=-1)
    cosines = ((one * other).sum(dim=-1) / norms).cpu().numpy()
    if not np.isfinite(cosines).all():
        raise UndefinedMeasureError(
            f"the last hidden states of {quoted(name)} have no direction",
            expected="finite states other than 0",
            got=f"{int((~np.isfinite(cosines)).sum())} without one",
        )
    return np.asarray(np.minimum(cosines, 1))  # rounding may pass it


def _ordered(variants: Mapping[str, Variant], against: str | None) -> list[str]:
    """Return the names, with that of the variant first which others are compared with.

    Raises
    ------
    SettingError
        If it is not among them.
    """
    if against is not None and against not in variants:
        raise SettingError(
            "there is no variant to compare with",
            expected=f"one of {', '.join(map(quoted, variants))}",
            got=quoted(against),
        )
    return sorted(variants, key=lambda name: name != against)


def _require_positions(model: LanguageModel, variants: Mapping[str, Variant], length: int) -> None:
    for name, variant in variants.items():
        most = model.positions(variant())
        if most is not None and most < length:
            raise SettingError(
                f"these contexts are longer than what {quoted(name)} reads",
                expected=f"at most {most} tokens in each",
                got=f"{length}",
                remedy="choose shorter contexts, or leave it out",
            )


def _no_number(name: str) -> SourceError:
    return SourceError(
        f"the loss of {quoted(name)} is no number",
        expected="finite logits for every token",
        got="NaN or infinite ones",
        remedy="check the weights of the model and its table",
    )
