"""The internal protocol: what is exactly of the schema comes through unchanged, everything else is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quire.base.commands import ResetPrefixes
from quire.base.errors import EngineFault
from quire.base.messages import EngineRequest, SamplingParams
from quire.base.wire import Abort, Ask, Codec, Downward, Stop, Submit


def test_messages_survive_the_wire():
    sampling = SamplingParams(temperature=0.5, logit_bias={3: -1.0}, stop_token_ids=[1], n=2)
    request = EngineRequest(
        request_id="a", prompt_token_ids=[1, 2], sampling=sampling, seed=7, media_keys=["x"]
    )
    codec = Codec(Downward)
    for message in (Submit(request), Abort("a"), Ask(3, ResetPrefixes(with_running=True)), Stop()):
        assert codec.decode(codec.encode(message)) == message


@given(st.one_of(st.binary(max_size=200), st.recursive(
    st.none() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
).map(msgspec.msgpack.encode)))  # fmt: skip
def test_anything_else_is_refused_by_name(frame):
    with pytest.raises(EngineFault, match="internal message refused"):
        Codec(Downward).decode(frame)


def test_a_submit_with_values_out_of_range_is_refused():
    request = {"request_id": "a", "prompt_token_ids": [1], "sampling": {"temperature": -1.0}, "seed": 0}
    frame = msgspec.msgpack.encode({"type": "submit", "request": request})
    with pytest.raises(EngineFault, match="temperature"):
        Codec(Downward).decode(frame)
