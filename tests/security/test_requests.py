"""T-08, T-11 to T-15, T-23, T-25 to T-28: one small request that kills, starves or reads what it should not.

Each is sent to a real server, is refused in time with the field's name (or served), and `guarded` looks at the whole
server afterwards. The full table of fields, against the app alone, is tests/api/server/openai/test_bad_requests.py.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from typing import Any

import pytest

from tests.security.conftest import Guarded

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
TEXT: dict[str, Any] = {"prompt": "hello", "max_tokens": 2}
ROUTES = [("/v1/chat/completions", CHAT), ("/v1/completions", TEXT)]
LEAKS = re.compile(r"0x[0-9a-f]{6,}|Traceback|File \"|(/[a-z.]+){3,}\.py|site-packages")


def request_head(*headers: str) -> bytes:
    return "\r\n".join(["POST /v1/completions HTTP/1.1", "Host: x", *headers, "", ""]).encode()


@pytest.mark.parametrize("prompt", ["", [], [[]], [""], [[], []], None, {}])
def test_empty_prompts(prompt: Any, guarded: Guarded) -> None:
    """T-11: CVE-2024-8768."""
    guarded.refused("/v1/completions", {**TEXT, "prompt": prompt}, "prompt")


@pytest.mark.parametrize("token", range(4))
def test_a_prompt_of_special_tokens_only(token: int, guarded: Guarded) -> None:
    """T-11."""
    assert guarded.post("/v1/completions", {**TEXT, "prompt": [token]})[0] == 200


@pytest.mark.parametrize(("path", "good"), ROUTES)
@pytest.mark.parametrize("count", [10**9, 2**31, 2**63 - 1, 2**63, 10**30, -1])
def test_many_samples(path: str, good: dict[str, Any], count: int, guarded: Guarded) -> None:
    """T-12: CVE-2024-8939, CVE-2026-34756: refused in 50 ms of the processor, before any work."""
    guarded.refused(path, {**good, "n": count}, "n", work_s=0.05)
    guarded.refused(path, {**good, "best_of": count}, "best_of")


def test_many_samples_of_many_prompts(guarded: Guarded) -> None:
    """T-12: GHSA-83mh-6mwq-3hg9: the product counts."""
    guarded.refused("/v1/completions", {**TEXT, "prompt": ["x"] * 1000, "n": 1000}, "n")


FLOATS = ("temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty")


@pytest.mark.parametrize(("path", "good"), ROUTES)
@pytest.mark.parametrize("field", FLOATS)
def test_numbers_that_are_none(path: str, good: dict[str, Any], field: str, guarded: Guarded) -> None:
    """T-13: GHSA-7h4p-rffg-7823. NaN and infinities in every spelling; the smallest and largest numbers."""
    for spelled in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        '"nan"',
        '"inf"',
        "1e308",
        "-1e308",
        "[1]",
    ):
        body = json.dumps(good)[:-1].encode() + f', "{field}": {spelled}}}'.encode()
        status, text, _ = guarded.post(path, body)
        assert status == 400, (spelled, text)
        assert not LEAKS.search(text)
    for edge in ("-0.0", "5e-324", "1e-300"):
        body = json.dumps(good)[:-1].encode() + f', "{field}": {edge}}}'.encode()
        assert guarded.post(path, body)[0] in (200, 400)


@pytest.mark.parametrize(("path", "good"), ROUTES)
@pytest.mark.parametrize("field", ["stop_token_ids", "allowed_token_ids", "logit_bias"])
def test_token_ids_outside_the_vocabulary(
    path: str, good: dict[str, Any], field: str, guarded: Guarded
) -> None:
    """T-14: GHSA-rp22-rc8r-qjmh, GHSA-4fv6-24cq-h5pw, GHSA-m9fh-2f8w-jhw9: below, at and far past the vocabulary;
    empty, a million, twice the same."""
    for token in (-1, -(2**31), 10**6, 2**31, 2**32, 2**63 - 1, 2**63, 2**64):
        ids: Any = {str(token): 1.0} if field == "logit_bias" else [token]
        guarded.refused(path, {**good, field: ids}, field)
    many: Any = {str(i): 1 for i in range(10**5)} if field == "logit_bias" else [5] * 10**6
    guarded.refused(path, {**good, field: many}, field, limit_s=3.0)
    twice: Any = {"5": 1} if field == "logit_bias" else [5, 5]
    assert guarded.post(path, {**good, field: twice})[0] == 200


@pytest.mark.parametrize(("path", "good"), ROUTES)
def test_words_to_avoid_and_to_stop_at(path: str, good: dict[str, Any], guarded: Guarded) -> None:
    """T-14: thousands of bad words, stop strings as long as books."""
    guarded.refused(path, {**good, "bad_words": ["x"] * 10_000}, "bad_words")
    guarded.refused(path, {**good, "bad_words": ["x" * 10**6]}, "bad_words", limit_s=3.0)
    guarded.refused(path, {**good, "stop": ["x"] * 5}, "stop")
    guarded.refused(path, {**good, "stop": "x" * 10**6}, "stop")


@pytest.mark.parametrize("count", [-2, 10**9, 2**63, 4096])
def test_many_log_probabilities(count: int, guarded: Guarded) -> None:
    """T-15: local-inference-lab #264, sglang PR 36856: a 65-byte body that wanted gigabytes."""
    guarded.refused("/v1/completions", {**TEXT, "logprobs": count}, "logprobs")
    guarded.refused("/v1/completions", {**TEXT, "prompt_logprobs": count}, "prompt_logprobs")
    guarded.refused("/v1/chat/completions", {**CHAT, "logprobs": True, "top_logprobs": count}, "top_logprobs")


def test_all_log_probabilities_of_the_longest_prompt_stay_bounded(guarded: Guarded) -> None:
    """T-15: the most that is allowed, for the longest prompt; `guarded` looks at the memory."""
    body = {**TEXT, "prompt": [5] * 250, "prompt_logprobs": 20, "logprobs": 20}
    assert guarded.post("/v1/completions", body)[0] in (200, 400)


@pytest.mark.parametrize("embeds", ["AAAA", ["AAAA"], {"a": 1}, [[0.0]], "x" * 10**6])
def test_prompt_embeddings_are_not_read(embeds: Any, guarded: Guarded) -> None:
    """T-23: CVE-2025-62164, CVE-2025-62372: tensors from a request are refused by name, not decoded."""
    guarded.refused("/v1/completions", {**TEXT, "prompt_embeds": embeds}, "prompt_embeds")


@pytest.mark.parametrize(
    "text", ["<|im_start|>system", "<image>", "<|vision_start|><|image_pad|>", "\x00", "<|endoftext|>" * 20]
)
def test_placeholders_in_a_text_are_text(text: str, guarded: Guarded) -> None:
    """T-23: CVE-2026-44222."""
    assert guarded.post("/v1/completions", {**TEXT, "prompt": text})[0] == 200


@pytest.mark.parametrize(("path", "good"), ROUTES)
@pytest.mark.parametrize(
    "field", ["cache_salt", "request_id", "user", "model", "safety_identifier", "prompt_cache_key"]
)
def test_megabytes_where_a_word_belongs(
    path: str, good: dict[str, Any], field: str, guarded: Guarded
) -> None:
    """T-25: GHSA-wpww-v874-ph2p. Refused, or (labels that nothing reads) served; in time and without a trace."""
    status, text, seconds = guarded.post(path, {**good, field: "x" * (30 << 20)})
    assert status in (200, 400, 404, 413), text[:200]
    assert len(text) < 5000
    assert seconds < 5.0


def test_one_request_id_a_hundred_times(guarded: Guarded) -> None:
    """T-26: #10583. All are answered; one that is given up takes no other with it."""
    statuses: list[int] = []

    def ask() -> None:
        statuses.append(
            guarded.post("/v1/completions", {**TEXT, "max_tokens": 8}, **{"x-request-id": "same"})[0]
        )

    threads = [threading.Thread(target=ask) for _ in range(100)]
    for thread in threads:
        thread.start()
    body = json.dumps({**TEXT, "max_tokens": 200, "ignore_eos": True, "stream": True}).encode()
    head = request_head(
        "X-Request-Id: same", "Content-Type: application/json", f"Content-Length: {len(body)}"
    )
    for _ in range(5):
        guarded.raw(head + body, read_bytes=1)  # leaves after its first byte
    for thread in threads:
        thread.join()
    assert statuses == [200] * 100


@pytest.mark.parametrize(("path", "good"), ROUTES)
@pytest.mark.parametrize(
    "field", ["kv_transfer_params", "ec_transfer_params", "vllm_xargs", "mm_processor_kwargs"]
)
def test_dictionaries_passed_through(path: str, good: dict[str, Any], field: str, guarded: Guarded) -> None:
    """T-27: PR 51137. Nothing of a request reaches a part that trusts it."""
    for value in (
        {"tp_size": 10**9},
        {"do_remote_prefill": True, "remote_host": "127.0.0.1"},
        {"": None},
        [],
        "x",
        1,
    ):
        status, text, _ = guarded.post(path, {**good, field: value})
        assert status == 400, text
        assert not LEAKS.search(text)


def test_headers_without_end(guarded: Guarded) -> None:
    """T-28: CVE-2025-48956: 100 MB of header, a hundred thousand headers. (One byte at a time:
    tests/api/server/test_http_protocol.py.)"""
    started_s = time.monotonic()
    for payload in (
        request_head("X: " + "a" * (100 << 20)),
        request_head(*(f"X-{i}: a" for i in range(100_000))),
        b"GET /" + b"a" * (50 << 20) + b" HTTP/1.1\r\n\r\n",
        b"A" * (50 << 20),
    ):
        reply = guarded.raw(payload)
        assert not reply or reply.startswith(b"HTTP/1.1 4"), reply[:100]
    assert time.monotonic() - started_s < 20


def test_bodies_that_lie(guarded: Guarded) -> None:
    """T-28: a gigabyte in chunks, a length that does not fit, a bomb in gzip."""
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    reply = guarded.raw(
        request_head("Content-Type: application/json", "Transfer-Encoding: chunked") + chunk * 1600
    )
    assert not reply or reply.startswith(b"HTTP/1.1 4"), reply[:100]
    for length in ("-1", "1e3", "99999999999999999999", "5, 6"):
        reply = guarded.raw(
            request_head("Content-Type: application/json", f"Content-Length: {length}") + b"{}"
        )
        assert not reply or reply.startswith(b"HTTP/1.1 4"), (length, reply[:100])
    bomb = zlib.compress(b" " * (64 << 20))
    status, _, _ = guarded.post("/v1/completions", bomb, **{"content-encoding": "deflate"})
    assert status in (400, 415)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"prompt":' * 100_000,
        b'{"prompt": "x", "n": ' + b"9" * 1_000_000 + b"}",
        b'{"prompt": "x", "temperature": 0.' + b"1" * 1_000_000 + b"}",
        b'{"prompt": "x", "prompt": 7}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\xed\xa0\x80"}',
        b'{"prompt": "x", "stop": "\\u0000\\ud800"}',
        b'{"\\ud800": 1}',
        b"\xff\xfe{\x00}\x00",
        b'{"prompt": "x"} trailing',
        b"\x00",
        b"",
    ],
    ids=lambda body: body[:30],
)
def test_json_that_is_none(body: bytes, guarded: Guarded) -> None:
    """T-28, T-08: depth, digits, doubled keys, half characters: 4xx, and the reply shows nothing of this machine."""
    for path, _ in ROUTES:
        status, text, seconds = guarded.post(path, body)
        assert status in (200, 400, 413), text[:200]
        assert not LEAKS.search(text), text[:500]
        assert seconds < 2.0


@pytest.mark.parametrize(
    "path", ["/v1/models", "/tokenize", "/detokenize", "/health", "/load", "/no/such", "/%00", "/v1/models/x"]
)
@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "X"]
)
def test_no_error_shows_where_it_was_raised(path: str, method: str, guarded: Guarded) -> None:
    """T-08: CVE-2026-22778: no address, path or traceback, on any route, for any method."""
    reply = guarded.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert reply[:10] not in (b"HTTP/1.1 5",), reply
    assert not LEAKS.search(reply.decode("latin-1")), reply
