"""The decoder: what each scheme owns, what all share, and what may not depend on what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from lab_models import ENCODINGS, SHAPE, model, tokens

from poslens.encodings import Alibi, Deberta, Encoding, Learned, Nope, Rope, Shaw
from poslens.errors import LabError, SettingError
from poslens.lab.model import Decoder
from poslens.lab.schemes import SCHEMES, scheme
from poslens.lab.shape import Shape


def test_every_scheme_owns_what_it_claims(encoding: Encoding) -> None:
    made, bare = Decoder(SHAPE, encoding), Decoder(SHAPE, Nope())
    owned = sum(weight.numel() for weight in made.position.parameters())
    assert owned == encoding.parameters
    both = (sum(w.numel() for w in one.parameters()) for one in (made, bare))
    assert next(both) - next(both) == encoding.parameters
    assert not list(made.buffers())


def test_shared_weights_are_the_same_bits(encoding: Encoding) -> None:
    ours, theirs = (dict(Decoder(SHAPE, e, 3).named_parameters()) for e in (encoding, Nope()))
    assert {name for name in ours if not name.startswith("position.")} == set(theirs)
    for name, weight in theirs.items():
        assert torch.equal(ours[name], weight)
    other = dict(Decoder(SHAPE, encoding, 4).named_parameters())
    assert not torch.equal(other["tokens.weight"], theirs["tokens.weight"])


def test_no_global_generator_is_touched(encoding: Encoding) -> None:
    before = torch.get_rng_state()
    made = Decoder(replace(SHAPE, dropout=0.5), encoding)
    made(tokens(2, 9), torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_initial_weights_are_gpt2s() -> None:
    shape = Shape(layers=8, heads=4, width=128)
    for name, weight in Decoder(shape, Nope()).named_parameters():
        if weight.ndim == 2:
            want = 0.02 / (4 if name.endswith("_out.weight") else 1)
            assert weight.std().item() == pytest.approx(want, rel=0.03)
            assert abs(weight.mean().item()) < 4 * want / weight.numel() ** 0.5
        else:
            assert (weight == (1 if name.endswith("weight") else 0)).all()


def test_what_a_scheme_owns_begins_and_comes_back_as_the_encoding_has_it(
    encoding: Encoding,
) -> None:
    position = Decoder(SHAPE, encoding).position
    offsets = np.arange(-200, 1)
    trained = position.trained()
    for was, now in zip(numbers(encoding, offsets), numbers(trained, offsets), strict=True):
        np.testing.assert_array_equal(np.float32(was), np.float32(now))
    with torch.no_grad():
        for weight in position.parameters():
            weight += 1
    for was, now in zip(
        numbers(encoding, offsets), numbers(position.trained(), offsets), strict=True
    ):
        np.testing.assert_array_equal(np.float32(was) + np.float32(bool(encoding.parameters)), now)
    assert repr(position.trained()) == repr(encoding)


def numbers(encoding: Encoding, offsets: np.ndarray) -> list[np.ndarray]:
    """What a scheme that owns numbers is made of."""
    names = [name for name in ("rows", "values") if encoding.parameters and hasattr(encoding, name)]
    assert bool(names) == bool(encoding.parameters)
    return [getattr(encoding, name) for name in names]


@pytest.mark.parametrize("changed", [0, 1, 40, 64, 70])
def test_a_later_token_changes_no_earlier_logit(encoding: Encoding, changed: int) -> None:
    made = model(encoding)
    ids = tokens(2, SHAPE.context)
    other = ids.clone()
    other[:, changed] = (ids[:, changed] + 1) % SHAPE.vocabulary
    with torch.no_grad():
        before, after = made(ids), made(other)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert not torch.allclose(before[:, changed:], after[:, changed:])


def test_each_scheme_gives_the_same_at_any_length(encoding: Encoding) -> None:
    """The first positions of a context do not depend on how many follow, but for rounding."""
    made = model(encoding).double()
    ids = tokens(2, SHAPE.context)
    with torch.no_grad():
        whole = made(ids)
        for length in (1, 2, 63, 65):
            part = made(ids[:, :length])
            torch.testing.assert_close(part, whole[:, :length], rtol=0, atol=1e-12)


def test_schemes_differ() -> None:
    with torch.no_grad():
        logits = {name: model(e)(tokens(1, 50)) for name, e in ENCODINGS.items()}
    names = list(logits)
    for at, one in enumerate(names):
        for other in names[:at]:
            assert not torch.allclose(logits[one], logits[other], atol=1e-4), (one, other)


def test_dropout_is_its_generators() -> None:
    shape = replace(SHAPE, dropout=0.3)
    made, without = Decoder(shape, Nope()), Decoder(SHAPE, Nope())
    ids = tokens(2, 20)
    one, again, other = (made(ids, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(made(ids), without(ids))
    x = torch.ones(400, 500)
    dropped = made._dropped(x, torch.Generator().manual_seed(1))
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_by_name_fit_the_shape(name: str) -> None:
    made = Decoder(SHAPE, scheme(name, SHAPE, seed=1))
    assert made.position.encoding.name == name
    assert made(tokens(1, 71)).shape == (1, 71, 256)


def test_a_seed_decides_what_a_scheme_begins_with() -> None:
    one, again, other = (scheme("learned", SHAPE, seed=seed) for seed in (1, 1, 2))
    assert isinstance(one, Learned)
    assert isinstance(other, Learned)
    np.testing.assert_array_equal(one.rows, again.table(np.arange(71)))
    assert not np.array_equal(one.rows, other.rows)
    longer = scheme("learned", SHAPE, rows=100)
    assert isinstance(longer, Learned)
    assert longer.length == 100


def test_encodings_that_do_not_fit() -> None:
    with pytest.raises(
        LabError, match=r"Alibi\(heads=4.* does not fit the model: .* heads 6, got 4"
    ):
        Decoder(SHAPE, Alibi(4))
    with pytest.raises(LabError, match="expected head_dim 10, got 8"):
        Decoder(SHAPE, Rope(8))
    with pytest.raises(LabError, match="expected head_dim 10, got 12"):
        Decoder(SHAPE, Shaw.drawn(12, 3))
    with pytest.raises(LabError, match="expected dim 60, got 64"):
        Decoder(SHAPE, Learned.drawn(71, 64))
    with pytest.raises(
        LabError, match=r"too short: expected at most 70 positions, got 71; .*longer"
    ):
        Decoder(SHAPE, Learned.drawn(70, 60))
    with pytest.raises(LabError, match="at most 97 positions, got 98"):
        Decoder(SHAPE, ENCODINGS["learned"])(tokens(1, 98))
    with pytest.raises(LabError, match=r"cannot train a model with Deberta\(.*got deberta"):
        Decoder(SHAPE, Deberta.drawn(60))


def test_unknown_schemes_and_shapes() -> None:
    with pytest.raises(LabError, match=r"unknown scheme 'alibbi': expected .*mean alibi"):
        scheme("alibbi", SHAPE)
    with pytest.raises(SettingError, match="width that is a multiple of 6, got 64"):
        Shape(heads=6, width=64)
    with pytest.raises(SettingError, match="at least 1 for layers, got 0"):
        Shape(layers=0)
    with pytest.raises(SettingError, match=r"at most 0\.99 for dropout, got 1\.0"):
        Shape(dropout=1.0)


def test_gradients_of_table_rows_are_finite_differences() -> None:
    """In float64, by central differences, rows beyond the context included."""
    made = model(Learned.drawn(75, 60, std=0.3)).double()
    table = made.position.table
    ids = tokens(2, 71)

    def loss() -> torch.Tensor:
        logits = made(ids[:, :-1])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    loss().backward()
    gradient, step = table.grad, 1e-5
    assert gradient is not None
    with torch.no_grad():
        for row, column in [(0, 0), (1, 59), (35, 7), (63, 3), (64, 3), (69, 20), (70, 1), (74, 2)]:
            table[row, column] += step
            above = loss().item()
            table[row, column] -= 2 * step
            below = loss().item()
            table[row, column] += step
            want = (above - below) / (2 * step)
            assert gradient[row, column].item() == pytest.approx(want, rel=1e-6, abs=1e-10)
    assert not gradient[70:].any()
    assert gradient[:70].any(dim=1).all()
