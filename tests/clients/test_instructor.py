"""`instructor`: a pydantic model out of every mode it has for such servers."""

from __future__ import annotations

import pydantic
import pytest

from tests.clients.conftest import MODEL

instructor = pytest.importorskip("instructor", reason="instructor is not installed")
openai = pytest.importorskip("openai", reason="openai is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")


class Sum(pydantic.BaseModel):
    """What a sum comes to."""

    number: int


@pytest.fixture
def client(url):
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
def test_a_model_comes_back(mode, client):
    patched = instructor.from_openai(client, mode=getattr(instructor.Mode, mode))
    answer = patched.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "What is 41-33?"}],
        response_model=Sum,
        max_retries=0,
        temperature=0,
    )
    assert isinstance(answer, Sum)


def test_a_model_fills_while_it_streams(client):
    patched = instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)
    parts = list(
        patched.chat.completions.create_partial(
            model=MODEL,
            messages=[{"role": "user", "content": "What is 41-33?"}],
            response_model=Sum,
            max_retries=0,
            temperature=0,
        )
    )
    assert isinstance(parts[-1].number, int)
