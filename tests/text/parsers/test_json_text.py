"""JSON as models write it, mended."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quire.text.parsers.json_text import MAX_DEPTH, JsonCopier, mended
from quire.text.parsers.source import Source

MENDED = [
    ('{"a": 1, "b": [true, null, "x"]}', {"a": 1, "b": [True, None, "x"]}),
    ("{'a': 'it\\'s \"so\"', 'b': None, 'c': True}", {"a": 'it\'s "so"', "b": None, "c": True}),
    ('{"a": 1,}', {"a": 1}),
    ("[1, 2,, 3,]", [1, 2, 3]),
    ('{"a" 1\n "b" 2}', {"a": 1, "b": 2}),
    ('{"a": "b" "c": ["d" "e"]}', {"a": "b", "c": ["d", "e"]}),
    ("{a: 1, b-c: x y}", {"a": 1, "b-c": "x y"}),
    ('{"a": [1, {"b": 2]}', {"a": [1, {"b": 2}]}),
    ('{"a": {"b": 1', {"a": {"b": 1}}),
    ('{"a": "un', {"a": "un"}),
    ('{"a"', {"a": None}),
    ('{"a":', {"a": None}),
    ('{"a":}', {"a": None}),
    ('{"a": , "b": 1}', {"a": None, "b": 1}),
    ('"line\nend\ttab"', "line\nend\ttab"),
    (r'"\d \x41 \u0042 \u12"', "\\d A B \\u12"),
    ('"cut in an escape \\', "cut in an escape "),
    ('"cut in an escape \\u12', "cut in an escape "),
    ("[01, 1., +1, .5, 1e5, -0]", ["01", "1.", "+1", ".5", 1e5, 0]),
    ("NaN", None),
    ("", None),
    ("]", None),
]


@pytest.mark.parametrize(("text", "value"), MENDED)
def test_mistakes_are_mended(text, value):
    assert json.loads(mended(text)[0]) == value


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
), st.booleans(), st.sampled_from([None, 2]))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_json_stays_what_it_is(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    copied, is_whole = mended(text)
    assert is_whole
    assert json.loads(copied) == value


@given(st.text(alphabet="{}[]\",:\\u0a' truefalsn-1.e<\n/x", max_size=60), st.data())
@settings(max_examples=300, deadline=None)
def test_any_text_becomes_json_that_only_ever_grows(text, data):
    whole = mended(text)[0]
    json.loads(whole)
    source, pieces = Source(), []
    steps = JsonCopier(source, pieces.append).copy()
    at = 0
    try:
        while at < len(text):
            size = data.draw(st.integers(1, 9))
            source.add(text[at : at + size])
            at += size
            next(steps)
            assert whole.startswith("".join(pieces))
        source.end()
        next(steps)
    except StopIteration:
        pass
    assert "".join(pieces) == whole


def test_depth_is_bounded():
    for text in ("[" * 5000, '{"a":' * 5000, "[" * 5000 + "1" + "]" * 5000):
        value = json.loads(mended(text)[0])
        depth = 0
        while value:
            value = value["a"] if isinstance(value, dict) else value[0]
            depth += 1
        assert depth <= MAX_DEPTH
