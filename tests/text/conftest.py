"""Tokenizers shared by the tests of this wing, one of each kind per run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tokenizers import Tokenizer as Backend

from quire.text.tokenizer import Tokenizer
from tests.text.small_tokenizers import KINDS, save_folder


@dataclass(frozen=True)
class Pair:
    """Our tokenizer and the library's, read from the same file: subject and oracle."""

    kind: str
    ours: Tokenizer
    backend: Backend


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> dict[str, Pair]:
    made = {}
    for kind, build in KINDS.items():
        folder = save_folder(build(), tmp_path_factory.mktemp(kind))
        made[kind] = Pair(kind, Tokenizer.load(folder), Backend.from_file(str(folder / "tokenizer.json")))
    return made


@pytest.fixture(scope="session")
def byte_level(pairs) -> Tokenizer:
    return pairs["byte_level"].ours
