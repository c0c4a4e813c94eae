"""Numbers and names as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poslens.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.19568, "0.196"),
        (0.2, "0.200"),
        (-0.68456, "-0.685"),
        (11.697, "11.7"),
        (999.7, "1,000"),
        (1234.5, "1,234"),
        (0.00012345, "0.000123"),
        (8.24e-14, "8.24e-14"),
        (9, "9"),
        (9.0, "9"),
        (47669760, "47,669,760"),
        (0.0, "0"),
        (1.5e20, "1.50e+20"),
        (None, "—"),
        (math.nan, "—"),
        (-math.inf, "—"),
    ],
)
def test_three_significant_figures_and_whole_numbers_in_full(
    value: float | None, text: str
) -> None:
    assert words.shown(value) == text


@pytest.mark.parametrize(
    ("value", "bar", "text"),
    [
        (0.1504, "<= 0.15", "0.1504"),
        (0.1496, "<= 0.15", "0.150"),
        (0.99899, ">= 0.999", "0.99899"),
        (0.9991, ">= 0.999", "0.999"),
        (0.1504, "", "0.150"),
        (0.1504, "no bar", "0.150"),
    ],
)
def test_a_value_is_never_shown_on_the_other_side_of_its_bar(
    value: float, bar: str, text: str
) -> None:
    assert words.shown(value, bar) == text


@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3))
def test_what_is_shown_is_the_value_to_half_a_unit_of_the_third_figure(
    value: float, bar: float
) -> None:
    shown = float(words.shown(value, f"<= {bar}").replace(",", ""))
    assert shown == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(1.0, "1.000"), (0.004975, "0.005"), (0.0005, "0.001"), (1 / 100_001, "1e-05")],
)
def test_p_values_never_read_zero(p_value: float, text: str) -> None:
    assert words.p_text(p_value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (3e-17, "less than 0.1 %"), (0.0123, "1.2 %"), (0.0996, "10 %"), (1.0, "100 %")],
)
def test_shares_in_per_cent(share: float, text: str) -> None:
    assert words.percent(share) == text


def test_control_characters_become_visible() -> None:
    assert words.visible("a\nb\x1b[31m\u202ec\udc80") == "a\\nb\\x1b[31m\\u202ec\\udc80"
    assert words.visible("12\u202f345\xa06") == "12 345 6"


def test_values_of_every_kind() -> None:
    assert words.value_text([]) == "none"
    assert words.value_text(list(range(10))) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert words.value_text({"1": 0.5, "64": None}) == "1: 0.500, 64: —"
    assert words.value_text("damped_cosine") == "damped_cosine"
    assert words.value_text(None) == "—"
