"""A GGUF file is read back by its published layout, and by llama.cpp where that is installed."""

import math
import random
import struct

import numpy
import pytest
from safetensors.torch import load_file

from quire.api.bench.accuracy import logit_error, logit_rows
from quire.api.bench.gguf_file import FORMATS, gguf_name, write_gguf
from quire.api.bench.llama_side import Llama
from quire.api.bench.shapes import SHAPES, write_shape
from quire.model.checkpoint import builtin_folder


class GgufReader:
    """Metadata and tensors (as float32) of a file with the types that we write."""

    def __init__(self, path):
        self._data, self._place = path.read_bytes(), 0
        assert self._take("4sI") == (b"GGUF", 3)
        num_tensors, num_values = self._take("QQ")
        self.metadata = {self._string(): self._value() for _ in range(num_values)}
        records = [self._record() for _ in range(num_tensors)]
        begin = -(-self._place // 32) * 32
        assert all(offset % 32 == 0 for *_, offset in records)
        self.tensors = {name: self._tensor(begin, *record) for name, *record in records}

    def _take(self, form):
        found = struct.unpack_from(f"<{form}", self._data, self._place)
        self._place += struct.calcsize(f"<{form}")
        return found

    def _string(self):
        (length,) = self._take("Q")
        return self._take(f"{length}s")[0].decode()

    def _value(self):
        (kind,) = self._take("I")
        return self._string() if kind == 8 else self._take({4: "I", 6: "f"}[kind])[0]

    def _record(self):
        name = self._string()
        (num_sizes,) = self._take("I")
        sizes = self._take(f"{num_sizes}Q")
        return (name, sizes[::-1], *self._take("IQ"))

    def _tensor(self, begin, shape, kind, offset):
        count = math.prod(shape)
        part = memoryview(self._data)[begin + offset :]
        if kind == 0:
            return numpy.frombuffer(part, "<f4", count).reshape(shape)
        if kind == 30:
            return (numpy.frombuffer(part, "<u2", count).astype("<u4") << 16).view("<f4").reshape(shape)
        width = {8: 32, 2: 16}[kind]
        blocks = numpy.frombuffer(part, [("scale", "<f2"), ("bytes", "u1", (width,))], count // 32)
        numbers = blocks["bytes"].view("i1").astype("f4") if kind == 8 else nibbles(blocks["bytes"])
        return (blocks["scale"].astype("f4")[:, None] * numbers).reshape(shape)


def nibbles(packed):
    """Low halves of 16 bytes, then high ones; 8 stands for nothing."""
    return numpy.concatenate([packed & 15, packed >> 4], axis=1).astype("f4") - 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_shape("tiny", tmp_path_factory.mktemp("shape") / "m", with_weights=True)


@pytest.mark.parametrize(
    ("name", "share"),
    # how far a value may be off, as a share of its block's largest: half a step (a whole one at the end that has no
    # number), and 2⁻¹¹ of the value for the scale in float16
    [("bfloat16", 0.0), ("int8", 0.5 / 127 + 2**-11), ("int4", 1 / 8 + 2**-11)],
)
def test_a_file_holds_the_checkpoints_numbers(folder, tmp_path, name, share):
    write_gguf(folder, tmp_path / "file", name)
    found = GgufReader(tmp_path / "file").tensors
    exact = {
        gguf_name(key): value.float().numpy()
        for key, value in load_file(folder / "model.safetensors").items()
    }
    assert found.keys() == exact.keys() and len(found) == 2 + 11 * 2
    for key, values in exact.items():
        assert found[key].shape == values.shape
        if values.ndim == 1:
            assert numpy.array_equal(found[key], values)
            continue
        blocks = values.reshape(-1, 32)
        apart = numpy.abs(found[key].reshape(-1, 32) - blocks)
        assert (apart <= share * numpy.abs(blocks).max(1, keepdims=True)).all(), key


def test_the_metadata_are_the_cards(folder, tmp_path):
    write_gguf(folder, tmp_path / "file")
    found = GgufReader(tmp_path / "file").metadata
    shape = SHAPES["tiny"]
    assert found["general.architecture"] == "qwen3"
    assert found["tokenizer.ggml.model"] == "no_vocab" and found["qwen3.vocab_size"] == shape["vocab_size"]
    assert found["qwen3.block_count"] == shape["num_hidden_layers"]
    assert found["qwen3.attention.head_count_kv"] == shape["num_key_value_heads"]
    assert found["qwen3.attention.key_length"] == found["qwen3.attention.value_length"] == shape["head_dim"]
    assert found["qwen3.rope.freq_base"] == shape["rope_theta"]
    assert found["qwen3.attention.layer_norm_rms_epsilon"] == pytest.approx(shape["rms_norm_eps"])


def test_a_scale_of_nothing_and_the_ends_of_the_range():
    rows = numpy.zeros((3, 32), "f4")
    rows[1, 0], rows[1, 1] = 127.0, -126.5
    rows[2, 0], rows[2, 1], rows[2, 31] = -8.0, 8.0, 3.0
    eight = FORMATS["int8"].pack(rows)
    assert not eight[0].any()
    assert eight[1, 2:4].view("i1").tolist() == [127, -127]  # halves go away from zero
    four = FORMATS["int4"].pack(rows)
    assert not four[0, :2].view("<f2").any() and (four[0, 2:] == 0x88).all()
    assert nibbles(four[2:3, 2:])[0, [0, 1, 31]].tolist() == [-8.0, 7.0, 3.0]  # +8 has no number


@pytest.mark.parametrize(("name", "limit"), [("bfloat16", 0.02), ("int8", 0.1), ("int4", 1.0)])
def test_llama_cpp_computes_what_quire_does(tmp_path, name, limit):
    pytest.importorskip("llama_cpp", reason="llama.cpp is not installed: pip install llama-cpp-python")
    from quire.api.llm import LLM

    chance = random.Random(0)
    contexts = [[chance.randrange(2000) for _ in range(length)] for length in (1, 7, 40, 130)]
    settings = {"max_model_len": 256, "kv_cache_memory_bytes": 1 << 26}
    llm = LLM(dtype="float32", logprobs_mode="raw_logits", max_logprobs=-1, **settings)
    expected = logit_rows(llm, contexts)
    write_gguf(builtin_folder(), tmp_path / "file", name)
    llama = Llama(str(tmp_path / "file"), 2)
    entries = [
        (token, place, sequence, place == len(context) - 1)
        for sequence, context in enumerate(contexts)
        for place, token in enumerate(context)
    ]
    rows = numpy.array([row.astype(float) for row in llama.logits(entries)])
    error = logit_error(rows, expected)
    assert error["logit_error_mean"] < limit < expected.std()
    assert name == "int4" or error["same_best_token"] == 1.0
