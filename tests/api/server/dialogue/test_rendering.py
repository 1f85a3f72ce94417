"""Templates that requests bring."""

from __future__ import annotations

import asyncio
import time

from tests.text.template.test_runaway import RUNAWAYS


async def test_a_template_that_uses_its_whole_budget_holds_up_nobody(make_service, connect):
    """Where templates of requests are trusted they have a budget, and the event loop goes on meanwhile (T-22)."""
    pauses_s: list[float] = []

    async def watch() -> None:
        while True:
            started_s = time.monotonic()
            await asyncio.sleep(0.001)
            pauses_s.append(time.monotonic() - started_s)

    watching = asyncio.create_task(watch())
    async with connect(make_service(trust_request_chat_template=True)) as client:
        started_s = time.monotonic()
        reply = await client.post(
            "/v1/chat/completions",
            json={
                "messages": [{"role": "user", "content": "x"}],
                "max_tokens": 1,
                "chat_template": RUNAWAYS["macro tree"],
            },
        )
        took_s = time.monotonic() - started_s
    watching.cancel()
    assert reply.status_code == 400, reply.text
    assert max(pauses_s) < took_s / 3
