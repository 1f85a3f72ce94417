"""Stop strings do not depend on how the text was cut, and nothing shown is ever taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.text.session.stops import StopScanner


def read_whole(text: str, stops: list[str], *, keep_stop: bool) -> tuple[str, str | None]:
    """The definition: read character by character, end at the first stop string that is complete."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            stop = max(complete, key=len)
            return (text[:end] if keep_stop else text[: end - len(stop)]), stop
    return text, None


def read_pieces(pieces: list[str], stops: list[str], *, keep_stop: bool) -> tuple[str, str | None]:
    scanner = StopScanner(stops, keep_stop=keep_stop)
    shown = ""
    for piece in pieces:
        shown += scanner.feed(piece)
        if scanner.match is not None:
            return shown, scanner.match
    return shown + scanner.flush(), None


letters = st.text("ab", max_size=30)
stop_lists = st.lists(st.text("ab", min_size=1, max_size=6), max_size=4)


@given(pieces=st.lists(letters, max_size=8), stops=stop_lists, keep_stop=st.booleans())
def test_any_cut_gives_what_the_whole_text_gives(pieces, stops, keep_stop):
    assert read_pieces(pieces, stops, keep_stop=keep_stop) == read_whole(
        "".join(pieces), stops, keep_stop=keep_stop
    )


@given(pieces=st.lists(letters, max_size=8), stops=stop_lists)
def test_held_text_is_no_more_than_could_be_a_stop(pieces, stops):
    scanner = StopScanner(stops, keep_stop=False)
    seen = shown = ""
    for piece in pieces:
        shown += scanner.feed(piece)
        seen += piece
        if scanner.match is not None:
            return
        held = seen[len(shown) :]
        assert seen == shown + held
        assert not held or any(stop.startswith(held) and stop != held for stop in stops)
        longer = [seen[start:] for start in range(len(shown))]
        assert not any(stop.startswith(end) and stop != end for end in longer for stop in stops)


@pytest.mark.parametrize(
    ("text", "stops", "shown", "match"),
    [
        ("abcd", ["bc", "abcd"], "a", "bc"),  # complete first wins over started first
        ("xabc", ["c", "abc"], "x", "abc"),  # complete together: the longest
        ("aaa", ["aa"], "", "aa"),
        ("no stop", ["stops"], "no stop", None),
        ("ends with sto", ["stop"], "ends with sto", None),
        ("héllo—wörld", ["—"], "héllo", "—"),
    ],
)
def test_known_cases(text, stops, shown, match):
    for pieces in ([text], list(text)):
        assert read_pieces(pieces, stops, keep_stop=False) == (shown, match)


@given(first=letters, second=letters, stops=stop_lists)
def test_no_match_may_end_where_matching_is_off(first, second, stops):
    scanner = StopScanner(stops, keep_stop=False)
    shown = scanner.feed(first, may_match=False)
    assert scanner.match is None
    shown += scanner.feed(second)
    whole = first + second
    ends = [
        (end, stop)
        for end in range(len(first) + 1, len(whole) + 1)
        for stop in sorted(stops, key=len, reverse=True)
        if whole[:end].endswith(stop)
    ]
    if ends:
        end, stop = ends[0]
        assert scanner.match == stop
        assert shown == whole[: end - len(stop)]
    else:
        assert shown + scanner.flush() == whole
