"""OpenAI's own client asks for embeddings: it sends base64 unless told otherwise, and decodes it."""

from __future__ import annotations

import numpy as np
import openai


async def test_the_client_reads_both_ways_to_write_numbers(pooled_service, connect):
    http = connect(pooled_service(runner="pooling"))
    async with openai.AsyncOpenAI(
        base_url="http://test/v1", api_key="none", max_retries=0, http_client=http
    ) as client:
        model = pooled_service(runner="pooling").config.served_model_names[0]
        by_default = await client.embeddings.create(model=model, input=["a quire", "pages"])
        as_floats = await client.embeddings.create(
            model=model, input=["a quire", "pages"], encoding_format="float"
        )
        cut = await client.embeddings.create(model=model, input="a quire", dimensions=8)
    for one, other in zip(by_default.data, as_floats.data, strict=True):
        np.testing.assert_array_equal(np.float32(one.embedding), np.float32(other.embedding))
    assert [item.index for item in by_default.data] == [0, 1] and by_default.usage.total_tokens > 0
    assert len(cut.data[0].embedding) == 8
