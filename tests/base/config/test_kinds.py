"""What each kind of value reads and refuses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.base.config import kinds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4096", 4096),
        ("4k", 4000),
        ("4K", 4096),
        ("25.6k", 25_600),
        ("0.1k", 100),
        ("1.5m", 1_500_000),
        ("2M", 2 * 2**20),
        ("8g", 8 * 10**9),
        ("8G", 8 * 2**30),
        ("1t", 10**12),
        ("1T", 2**40),
        ("-5", -5),
    ],
)
def test_human_integers(text, value):
    assert kinds.read_human_integer(text) == value


@pytest.mark.parametrize("text", ["", "k", "1.5", "1.5K", "1.2345k", "4 k", "4kb", "1e3", "nan", "0x10", "٤"])
def test_human_integers_that_are_none(text):
    with pytest.raises(ValueError):
        kinds.read_human_integer(text)


@given(st.integers(0, 10**6), st.sampled_from(["k", "m", "g", "K", "M", "G"]))
def test_suffix_multiplies_exactly(count, suffix):
    base = 1000 if suffix.islower() else 1024
    power = "kmg".index(suffix.lower()) + 1
    assert kinds.read_human_integer(f"{count}{suffix}") == count * base**power


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "Yes", "on"])
def test_switch_words_for_yes(text):
    assert kinds.switch().read(text) is True


@pytest.mark.parametrize("text", ["0", "false", "No", "off"])
def test_switch_words_for_no(text):
    assert kinds.switch().read(text) is False


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (kinds.switch(), "maybe"),
        (kinds.integer(1), "0"),
        (kinds.integer(1), "1.0"),
        (kinds.integer(1, 9), "10"),
        (kinds.human_integer(1), "-1"),
        (kinds.number(0.0, 1.0), "1.01"),
        (kinds.number(0.0, 1.0), "nan"),
        (kinds.number(0.0), "inf"),
        (kinds.number(0.0, 1.0, low_is_allowed=False), "0"),
        (kinds.choice("a", "b"), "c"),
        (kinds.json_object(), "[1]"),
        (kinds.json_object(), "{broken"),
        (kinds.context_length(), "0"),
        (kinds.context_length(), "-2"),
        (kinds.context_length(), "automatic"),
        (kinds.omp_threads(), "0"),
    ],
)
def test_refused(kind, text):
    with pytest.raises(ValueError):
        kind.read(text)


@pytest.mark.parametrize("text", ["auto", "-1"])
def test_context_length_auto(text):
    assert kinds.context_length().read(text) == -1


def test_typed_values_obey_the_same_rules_as_text():
    assert kinds.integer(1).take(5) == 5
    assert kinds.switch().take(True) is True
    assert kinds.number(0.0, 1.0).take(0.5) == 0.5
    assert kinds.json_object().take({"a": 1}) == {"a": 1}
    with pytest.raises(ValueError):
        kinds.integer(1).take(True)
    with pytest.raises(ValueError, match="not a plain value"):
        kinds.json_object().take({"a": object()})


def test_omp_threads_takes_the_first_nesting_level():
    assert kinds.omp_threads().read("4,2") == 4
