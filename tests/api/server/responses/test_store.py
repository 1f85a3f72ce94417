"""Responses that are kept: retrieved, gone on from, made in the background, followed, cancelled, dropped."""

from __future__ import annotations

import asyncio

import openai
import pytest
import pytest_asyncio
from tests.api.server.conftest import ANSWER

from quire.api.server.responses.reply_types import OutputMessage, OutputText, Response
from quire.api.server.responses.store import ResponseStore, StoredResponse
from quire.api.server.responses.writing import EventLog
from quire.base.errors import NotFound


@pytest.fixture
def keeping(make_service):
    return make_service(stores_responses=True)


@pytest_asyncio.fixture
async def client(keeping, serve):
    async with openai.AsyncOpenAI(base_url=f"{serve(keeping).url}/v1", api_key="none", max_retries=0) as made:
        yield made


async def finished(client, response_id):
    """The response once it is over; asking again is what callers do."""
    async with asyncio.timeout(10):
        while True:
            response = await client.responses.retrieve(response_id)
            if response.status not in ("queued", "in_progress"):
                return response
            await asyncio.sleep(0.005)


async def test_what_is_stored_can_be_read_and_deleted(client):
    made = await client.responses.create(model="scripted", input="hello")
    assert made.store is True
    assert await client.responses.retrieve(made.id) == made
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


CALL = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
SAID = [
    {"role": "user", "content": "hello"},
    {"type": "reasoning", "id": "rs_own", "summary": []},
    CALL,
    {"type": "function_call_output", "call_id": "c", "output": "a cat"},
    {"type": "message", "role": "assistant", "content": "A cat."},
    {"role": "user", "content": [{"type": "input_text", "text": "and now?"}]},
]


async def test_the_items_of_its_input_are_listed(client):
    made = await client.responses.create(model="scripted", input=SAID)
    page = await client.responses.input_items.list(made.id, order="asc", limit=2)
    assert page.has_more
    items = [item async for item in page]
    assert [item.type for item in items] == [item.get("type", "message") for item in SAID]
    assert items[0].content[0].text == "hello"
    assert items[1].id == "rs_own"
    assert (items[4].role, items[4].content[0].type) == ("assistant", "output_text")
    assert len({item.id for item in items}) == 6
    newest = [item async for item in client.responses.input_items.list(made.id)]
    assert newest == items[::-1]
    after = await client.responses.input_items.list(made.id, after=items[3].id, order="asc")
    assert after.data == items[4:]
    assert not after.has_more


async def test_what_came_before_is_listed_too(client):
    first = await client.responses.create(model="scripted", input="hello")
    second = await client.responses.create(model="scripted", input="more", previous_response_id=first.id)
    items = (await client.responses.input_items.list(second.id, order="asc")).data
    assert [item.content[0].text for item in items] == ["hello", ANSWER, "more"]
    assert items[1].id == first.output[0].id


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"order": "up"}, "order"),
        ({"after": "msg_none"}, "after"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"extra_query": {"before": "msg_x"}}, "before"),
    ],
)
async def test_a_page_that_cannot_be_is_refused_by_name(query, field, client):
    made = await client.responses.create(model="scripted", input="hello")
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.input_items.list(made.id, **query)
    assert refused.value.param == field


@pytest.mark.parametrize("more", [{}, {"instructions": "Be brief."}])
async def test_tokens_are_counted_as_the_response_counts_them(more, client):
    first = await client.responses.create(model="scripted", input="hello")
    asked = {"model": "scripted", "input": "more", "previous_response_id": first.id, **more}
    counted = await client.responses.input_tokens.count(**asked)
    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == (await client.responses.create(**asked)).usage.input_tokens


async def test_counting_refuses_what_is_about_an_answer(client):
    with pytest.raises(openai.BadRequestError) as refused:
        await client.responses.input_tokens.count(input="more", extra_body={"temperature": 0.5})
    assert refused.value.param == "temperature"


async def test_store_false_keeps_nothing(client):
    made = await client.responses.create(model="scripted", input="hello", store=False)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_a_streamed_response_is_stored_when_it_is_over(client):
    events = [
        event async for event in await client.responses.create(model="scripted", input="hello", stream=True)
    ]
    assert (await client.responses.retrieve(events[0].response.id)).output_text == ANSWER


async def test_a_conversation_goes_on_without_its_instructions(client, keeping, tokenizer):
    first = await client.responses.create(model="scripted", input="one", instructions="Be brief.")
    second = await client.responses.create(model="scripted", input="two", previous_response_id=first.id)
    third = await client.responses.create(model="scripted", input="three", previous_response_id=second.id)
    assert third.previous_response_id == second.id
    prompt = tokenizer.decode(keeping.client.requests[-1].prompt_token_ids, skip_special_tokens=False)
    turns = [
        ("user", "one"),
        ("assistant", ANSWER),
        ("user", "two"),
        ("assistant", ANSWER),
        ("user", "three"),
    ]
    expected = "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns)
    assert prompt == expected + "<|im_start|>assistant\n"


async def test_in_the_background_it_goes_on_when_the_caller_left(client):
    made = await client.responses.create(model="scripted", input="hello", background=True)
    assert (made.status, made.output) == ("queued", [])
    done = await finished(client, made.id)
    assert (done.status, done.output_text) == ("completed", ANSWER)


async def test_a_background_stream_can_be_left_and_followed_from_there(client, keeping):
    keeping.client.pause_after = 3
    stream = await client.responses.create(model="scripted", input="hello", background=True, stream=True)
    seen = []
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    follow = await client.responses.retrieve(
        seen[0].response.id, stream=True, starting_after=seen[-1].sequence_number
    )
    keeping.client.resume()
    rest = [event async for event in follow]
    assert keeping.client.aborted == []
    numbers = [event.sequence_number for event in [*seen, *rest]]
    assert numbers == list(range(len(numbers)))
    assert rest[-1].response.output_text == ANSWER
    deltas = [event.delta for event in [*seen, *rest] if event.type == "response.output_text.delta"]
    assert "".join(deltas) == ANSWER


async def test_cancelling_frees_the_engine_and_is_told(client, keeping):
    keeping.client.pause_after = 2
    made = await client.responses.create(model="scripted", input="hello", background=True)
    while not keeping.client.requests:
        await asyncio.sleep(0.005)
    cancelled = await client.responses.cancel(made.id)
    assert cancelled.status == "cancelled"
    assert keeping.client.aborted == [keeping.client.requests[0].request_id]
    assert keeping.client.num_streams == 0
    assert (await client.responses.cancel(made.id)).status == "cancelled"
    assert (await client.responses.retrieve(made.id)).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        await client.responses.create(model="scripted", input="two", previous_response_id=made.id)


async def test_what_is_over_stays_as_it_is_when_cancelled(client):
    made = await client.responses.create(model="scripted", input="hello", background=True)
    await finished(client, made.id)
    assert (await client.responses.cancel(made.id)).status == "completed"


async def test_only_background_responses_are_cancelled_or_followed(client):
    made = await client.responses.create(model="scripted", input="hello")
    with pytest.raises(openai.BadRequestError, match="background"):
        await client.responses.cancel(made.id)
    with pytest.raises(openai.BadRequestError, match="background"):
        await client.responses.retrieve(made.id, stream=True)


async def test_a_failure_in_the_background_is_a_failed_response(client, keeping):
    keeping.client.script = lambda _request, _index: [5, -1]
    made = await client.responses.create(model="scripted", input="hello", background=True)
    done = await finished(client, made.id)
    assert (done.status, done.error.code) == ("failed", "server_error")


async def test_a_name_of_the_caller_s_own_is_taken_once(client):
    named = {"model": "scripted", "input": "hello", "extra_body": {"request_id": "mine"}}
    assert (await client.responses.create(**named)).id == "resp_mine"
    with pytest.raises(openai.BadRequestError, match="request_id"):
        await client.responses.create(**named)


async def test_a_server_that_stores_nothing_says_so(http):
    for change in ({"store": True}, {"background": True}):
        reply = await http.post("/v1/responses", json={"input": "hello", **change})
        assert reply.status_code == 400
        assert "VLLM_ENABLE_RESPONSES_API_STORE" in reply.json()["error"]["message"]
    reply = await http.get("/v1/responses/resp_1")
    assert reply.status_code == 404
    assert "VLLM_ENABLE_RESPONSES_API_STORE" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    "query", ["stream=maybe", "stream=true&starting_after=x", "starting_after=3", "limit=2"]
)
async def test_wrong_parameters_are_named(query, keeping, connect):
    async with connect(keeping) as http:
        made = (await http.post("/v1/responses", json={"input": "hello"})).json()
        reply = await http.get(f"/v1/responses/{made['id']}?{query}")
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] in query


class TestBounds:
    def stored(self, name: str, status: str = "completed", text: str = "x" * 1000) -> StoredResponse:
        response = Response(
            id=name, created_at=0, status=status, background=False, instructions=None, max_output_tokens=None,
            metadata={}, model="m", output=[OutputMessage(id="msg_1", content=[OutputText(text=text)])],
            parallel_tool_calls=True, previous_response_id=None, prompt_cache_key=None, reasoning={},
            safety_identifier=None, store=True, temperature=1.0, text={}, tool_choice="auto", tools=[],
            top_logprobs=0, top_p=1.0, truncation="disabled", user=None,
        )  # fmt: skip
        return StoredResponse(response, [], [], EventLog(is_read=False))

    def names(self, store: ResponseStore) -> list[str]:
        found = []
        for number in range(10):
            try:
                found.append(store.get(f"r{number}").response.id)
            except NotFound:
                continue
        return found

    def test_the_oldest_goes_first(self):
        store = ResponseStore(is_enabled=True, max_responses=3)
        for number in range(5):
            store.put(self.stored(f"r{number}"))
        assert self.names(store) == ["r2", "r3", "r4"]

    def test_bytes_are_bounded(self):
        store = ResponseStore(is_enabled=True, max_bytes=5_000)
        for number in range(5):
            store.put(self.stored(f"r{number}"))
        assert self.names(store) == ["r2", "r3", "r4"]
        store.put(self.stored("r9", text="x" * 10_000))
        assert self.names(store) == []
        assert len(store) == 0

    def test_what_runs_is_not_dropped(self):
        store = ResponseStore(is_enabled=True, max_responses=2)
        store.put(self.stored("r0", status="in_progress"))
        for number in range(1, 5):
            store.put(self.stored(f"r{number}"))
        assert self.names(store) == ["r0", "r4"]

    def test_one_that_grew_is_counted_anew(self):
        store = ResponseStore(is_enabled=True, max_bytes=5_000)
        grown = self.stored("r1", text="")
        store.put(self.stored("r0"))
        store.put(grown)
        grown.response.output[0].content[0].text = "x" * 4_000
        store.put(grown)
        assert self.names(store) == ["r1"]
