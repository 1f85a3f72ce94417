"""The pooling routes: shapes of replies, every way to write numbers, fields refused by name, other models refused."""

from __future__ import annotations

import base64
import json
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from quire.api.server.pooling.numbers import packed

RERANKER = {
    "runner": "pooling",
    "hf_overrides": {"classifier_from_token": ["N", "Y"], "method": "from_2_way_softmax"},
}
PAIR_TEMPLATE = (
    "{% for message in messages %}{% if message.role == 'query' %}{{ instruction | default('judge') }} Q: "
    "{{ message.content }}{% elif message.role == 'document' %} D: {{ message.content }}{% endif %}{% endfor %}"
)


@pytest.fixture
def embedder(pooled_service, connect):
    return connect(pooled_service(runner="pooling"))


async def post(http, path, *, status=200, **body):
    reply = await http.post(path, json=body)
    assert reply.status_code == status, reply.text
    return reply.json()


async def vectors(http, given, **fields):
    reply = await post(http, "/v1/embeddings", input=given, **fields)
    return np.array([item["embedding"] for item in reply["data"]], np.float32)


async def test_embeddings_have_openais_shape(embedder, tiny_folder):
    reply = await post(embedder, "/v1/embeddings", input=["a quire", "of pages"], user="me", request_id="r1")
    assert set(reply) == {"id", "object", "created", "model", "data", "usage"}
    assert reply["id"] == "embd-r1" and reply["object"] == "list" and reply["model"] == str(tiny_folder)
    assert [(item["index"], item["object"], len(item["embedding"])) for item in reply["data"]] == [
        (0, "embedding", 64),
        (1, "embedding", 64),
    ]
    usage = reply["usage"]
    assert usage["prompt_tokens"] == usage["total_tokens"] > 0 and usage["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "a quire"}),
        ("/v1/score", {"text_1": "a quire", "text_2": ["pages", "a folio"]}),
        ("/v1/rerank", {"query": "a quire", "documents": ["pages", "a folio"]}),
    ],
)
async def test_an_invocation_goes_where_its_fields_say(path, body, embedder):
    body = {**body, "request_id": "r"}
    invoked, direct = await post(embedder, "/invocations", **body), await post(embedder, path, **body)
    assert invoked | {"created": 0} == direct | {"created": 0}


async def test_texts_ids_batches_and_messages_are_the_same_prompt(embedder, pooled_service):
    session = pooled_service(runner="pooling").session
    ids = session.tokenizer.encode("a quire")
    text = await vectors(embedder, "a quire")
    for given in (["a quire"], ids, [ids]):
        assert np.array_equal(await vectors(embedder, given), text)
    messages = [{"role": "user", "content": "a quire"}]
    reply = await post(embedder, "/v1/embeddings", messages=messages)
    rendered = await vectors(embedder, "user: a quire ")
    assert np.array_equal(np.array([reply["data"][0]["embedding"]], np.float32), rendered)


async def test_texts_have_the_prompt_of_the_models_files_before_them(embedder, pooled_service, monkeypatch):
    """As if it were written out; token ids and conversations have none."""
    texts, ids, talk = ["a quire", "of pages"], [5, 6], [{"role": "user", "content": "a quire"}]
    pair = {"text_1": "a quire", "text_2": "of pages"}
    written = await vectors(embedder, [f"find: {text}" for text in texts])
    scored = await post(embedder, "/score", **{name: f"find: {text}" for name, text in pair.items()})
    bare, told = await vectors(embedder, ids), await post(embedder, "/v1/embeddings", messages=talk)

    session = pooled_service(runner="pooling").session
    pooler = msgspec.structs.replace(session.config.pooler, text_prompt="find: ")
    monkeypatch.setattr(session, "config", msgspec.structs.replace(session.config, pooler=pooler))
    assert np.array_equal(await vectors(embedder, texts), written)
    cohere = await post(embedder, "/v2/embed", texts=texts, embedding_types=["float"])
    assert np.array_equal(np.array(cohere["embeddings"]["float"], np.float32), written)
    assert (await post(embedder, "/score", **pair))["data"] == scored["data"]
    assert np.array_equal(await vectors(embedder, ids), bare)
    assert (await post(embedder, "/v1/embeddings", messages=talk))["data"] == told["data"]


async def test_numbers_are_written_as_asked(embedder):
    (plain,) = await vectors(embedder, "a quire")
    for dtype, order, read in (
        ("float32", "native", "=f4"),
        ("float32", "big", ">f4"),
        ("float16", "little", "<f2"),
    ):
        reply = await post(
            embedder,
            "/v1/embeddings",
            input="a quire",
            encoding_format="base64",
            embed_dtype=dtype,
            endianness=order,
        )
        found = np.frombuffer(base64.b64decode(reply["data"][0]["embedding"]), read)
        assert np.array_equal(found, plain.astype(read))
    ask = partial(embedder.post, "/v1/embeddings")
    raw = await ask(json={"input": ["a quire", "b"], "encoding_format": "bytes"})
    places = json.loads(raw.headers["metadata"])["data"]
    assert [(place["start"], place["end"], place["shape"]) for place in places] == [
        (0, 256, [64]),
        (256, 512, [64]),
    ]
    assert np.array_equal(np.frombuffer(raw.content[:256], np.float32), plain)
    bare = await ask(json={"input": ["a quire", "b"], "encoding_format": "bytes_only"})
    assert bare.content == raw.content and "metadata" not in bare.headers


def test_bfloat16_rounds_to_the_nearest():
    import torch

    values = np.array([1.0, 1.00390625, 1.01171875, -3.14159, 1e-40, 3e38], np.float32)
    expected = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().tobytes()
    assert packed(values, "bfloat16", "native") == expected


async def test_dimensions_truncation_and_activation_are_effective(embedder):
    whole = await vectors(embedder, "a quire of pages", use_activation=False)
    cut = await vectors(embedder, "a quire of pages", dimensions=4)
    np.testing.assert_allclose(cut[0], whole[0, :4] / np.linalg.norm(whole[0, :4]), atol=1e-6)
    ids = [5, 6, 7, 8, 9]
    for side, kept in (("right", ids[:2]), ("left", ids[-2:])):
        short = await vectors(embedder, ids, truncate_prompt_tokens=2, truncation_side=side)
        assert np.array_equal(short, await vectors(embedder, kept))


async def test_pooling_gives_rows_or_vectors(embedder):
    (vector,) = await vectors(embedder, [5, 6, 7])
    reply = await post(embedder, "/pooling", input=[5, 6, 7])
    assert reply["data"][0]["object"] == "pooling" and reply["id"].startswith("pool-")
    assert np.array_equal(np.array(reply["data"][0]["data"], np.float32), vector)
    rows = await post(embedder, "/pooling", input=[5, 6, 7], task="token_embed")
    found = np.array(rows["data"][0]["data"], np.float32)
    assert found.shape == (3, 64) and np.allclose(found[2], vector, atol=1e-6)


async def test_scores_are_cosines_of_vectors_and_rerank_sorts_by_them(embedder):
    documents = ["pages", "42", "a quire"]
    query, *others = await vectors(embedder, ["a quire", *documents])
    expected = [float(query @ other) for other in others]
    for path, fields in (
        ("/score", {"text_1": "a quire", "text_2": documents}),
        ("/v1/score", {"queries": ["a quire"] * 3, "documents": documents}),
        ("/score", {"data_1": "a quire", "data_2": documents}),
    ):
        reply = await post(embedder, path, **fields)
        assert [item["object"] for item in reply["data"]] == ["score"] * 3
        assert [item["score"] for item in reply["data"]] == pytest.approx(expected, abs=1e-5)
    order = sorted(range(3), key=lambda index: -expected[index])
    for path in ("/rerank", "/v1/rerank", "/v2/rerank"):
        reply = await post(embedder, path, query="a quire", documents=documents, top_n=2)
        assert set(reply) == {"id", "model", "usage", "results"}
        assert [result["index"] for result in reply["results"]] == order[:2]
        assert reply["results"][0]["document"] == {"text": "a quire", "multi_modal": None}
    bare = await post(embedder, "/rerank", query="q", documents=[{"text": "d"}], return_documents=False)
    assert set(bare["results"][0]) == {"index", "relevance_score"}


async def test_texts_of_a_pair_are_cut_one_by_one(embedder):
    whole = await post(embedder, "/score", text_1="page", text_2="page page page", max_tokens_per_doc=1)
    same = await post(embedder, "/score", text_1="page", text_2="p")
    assert whole["usage"]["total_tokens"] <= same["usage"]["total_tokens"] + 4
    reply = await post(embedder, "/score", text_1="a", text_2="b", max_tokens_per_doc=0, status=400)
    assert reply["error"]["param"] == "max_tokens_per_doc"


async def test_a_classifier_of_pairs_reads_both_texts_and_a_template_writes_them(pooled_service, connect):
    http = connect(pooled_service(**RERANKER))
    reply = await post(http, "/classify", input=["one", "two"])
    (first, _) = reply["data"]
    assert (first["label"], first["num_classes"]) == ("Y", 1) and 0 < first["probs"][0] < 1
    scores = await post(http, "/score", text_1="one", text_2="two")
    joined = await post(http, "/classify", input="onetwo")  # this tokenizer adds nothing around texts
    assert 0 < scores["data"][0]["score"] < 1 and joined["usage"] is not None
    written = connect(pooled_service(**RERANKER, chat_template=PAIR_TEMPLATE))
    for instruction in (None, "rank"):
        fields = {} if instruction is None else {"instruction": instruction}
        ranked = await post(written, "/rerank", query="one", documents=["two"], **fields)
        whole = await post(written, "/classify", input=f"{instruction or 'judge'} Q: one D: two")
        assert ranked["results"][0]["relevance_score"] == pytest.approx(
            whole["data"][0]["probs"][0], abs=1e-7
        )


async def test_token_vectors_are_compared_late(pooled_service, connect):
    http = connect(pooled_service(runner="pooling", pooler_config={"task": "token_embed"}))
    rows = [
        np.array((await post(http, "/pooling", input=text))["data"][0]["data"])
        for text in ("one", "two pages")
    ]
    reply = await post(http, "/score", text_1="one", text_2="two pages")
    assert reply["data"][0]["score"] == pytest.approx((rows[0] @ rows[1].T).max(1).sum(), abs=1e-5)


async def test_coheres_embed_gives_vectors_by_type(embedder):
    (vector,) = await vectors(embedder, "a quire")
    reply = await post(
        embedder,
        "/v2/embed",
        texts=["a quire"],
        input_type="search_document",
        embedding_types=["float", "base64", "ubinary", "binary"],
    )
    assert reply["response_type"] == "embeddings_by_type" and reply["texts"] == ["a quire"]
    found = reply["embeddings"]
    assert np.array_equal(np.array(found["float"][0], np.float32), vector)
    assert np.array_equal(np.frombuffer(base64.b64decode(found["base64"][0]), "<f4"), vector)
    assert found["ubinary"][0] == np.packbits(vector > 0).tolist()
    assert found["binary"][0] == (np.packbits(vector > 0).astype(int) - 128).tolist()
    assert reply["meta"]["billed_units"]["input_tokens"] > 0


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/embeddings", {}, "input"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": ""}, "input"),
        ("/v1/embeddings", {"input": ["a", [1]]}, "input"),
        ("/v1/embeddings", {"input": [[10**6]]}, "input"),
        ("/v1/embeddings", {"input": [1] * 600}, "input"),
        ("/v1/embeddings", {"input": "a", "messages": []}, "input"),
        ("/v1/embeddings", {"input": "a", "dimensions": 0}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "dimensions": 65}, "dimensions"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "embed_dtype": "float16"}, "embed_dtype"),
        (
            "/v1/embeddings",
            {"input": "a", "encoding_format": "base64", "embed_dtype": "fp8_e4m3"},
            "embed_dtype",
        ),
        ("/v1/embeddings", {"input": "a", "endianness": "big"}, "endianness"),
        ("/v1/embeddings", {"input": "a", "truncate_prompt_tokens": 0}, "truncate_prompt_tokens"),
        ("/v1/embeddings", {"input": "a", "padding": True}, "padding"),
        ("/v1/embeddings", {"input": "a", "chat_template": "x"}, "chat_template"),
        ("/v1/embeddings", {"input": "a", "temperature": 1}, "temperature"),
        ("/v1/embeddings", {"input": "a", "priority": 2**40}, "priority"),
        ("/pooling", {"input": "a", "task": "classify"}, "task"),
        ("/pooling", {"input": "a", "task": "dance"}, "task"),
        ("/pooling", {"data": {}}, "data"),
        ("/pooling", {"input": "a", "returned_token_ids": [1]}, "returned_token_ids"),
        ("/pooling", {"input": "a", "step_tag_id": 1}, "step_tag_id"),
        ("/classify", {"input": "a"}, "task"),
        ("/score", {"text_1": "a"}, "queries"),
        ("/score", {"text_1": ["a", "b"], "text_2": ["c"]}, "text_1"),
        ("/score", {"text_1": "", "text_2": "c"}, "text_1"),
        ("/score", {"text_1": "a", "text_2": "b", "instruction": "x"}, "instruction"),
        ("/rerank", {"query": "a", "documents": []}, "documents"),
        ("/rerank", {"query": "a", "documents": ["b"], "top_n": -1}, "top_n"),
        ("/rerank", {"query": "a", "documents": ["b"], "max_chunks_per_doc": 2}, "max_chunks_per_doc"),
        ("/v2/embed", {"texts": ["a"], "embedding_types": ["int8"]}, "embedding_types"),
        ("/v2/embed", {"texts": ["a"], "images": ["x"]}, "images"),
        ("/v2/embed", {"texts": []}, "texts"),
    ],
)
async def test_what_is_not_right_is_refused_by_name(embedder, path, fields, param):
    reply = await post(embedder, path, status=400, **fields)
    assert reply["error"]["param"] == param


async def test_a_pooled_model_does_not_chat_and_one_that_generates_does_not_embed(embedder, connect, service):
    messages = [{"role": "user", "content": "hi"}]
    for path, fields in (
        ("/v1/chat/completions", {"messages": messages}),
        ("/v1/completions", {"prompt": "a"}),
    ):
        reply = await post(embedder, path, status=400, **fields)
        assert "use /v1/embeddings or /pooling" in reply["error"]["message"]
    async with connect(service) as generating:
        for path in ("/v1/embeddings", "/pooling", "/classify", "/score", "/rerank", "/v2/embed"):
            reply = await post(generating, path, status=400, input="a")
            assert "--runner pooling" in reply["error"]["message"]


async def test_prompts_are_counted(embedder, pooled_service):
    metrics = pooled_service(runner="pooling").metrics
    before = metrics.successes["stop"], metrics.prompt_tokens
    await vectors(embedder, [[1, 2, 3], [4, 5]])
    assert (metrics.successes["stop"], metrics.prompt_tokens) == (before[0] + 2, before[1] + 5)


def test_the_command_that_is_printed_asks_for_vectors(pooled_service):
    from quire.api.cli.report import curl_line

    service = pooled_service(runner="pooling")
    line = curl_line(service.engine_config, service.config)
    assert "/v1/embeddings " in line and '"input"' in line
    assert Path(service.engine_config.card.folder).exists()
