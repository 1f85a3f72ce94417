"""What resolve decides by itself, and the combinations it refuses."""

from __future__ import annotations

import pytest
from tests.base.config.conftest import GIB, make_card, make_machine

from quire.base.config import Asked, kinds, resolve
from quire.base.config.setting import Effect, Setting, State
from quire.base.config.table import Table
from quire.base.errors import ConfigError


def run(*words: str, card=None, machine=None, environ=None):
    asked = Asked.from_arguments(words, environ or {})
    return resolve(asked, card or make_card(), machine or make_machine())


def reason(resolution, setting: str) -> str:
    (decision,) = [entry for entry in resolution.decisions if entry.setting == setting]
    assert decision.choice
    return decision.reason


@pytest.mark.parametrize(
    ("stored", "isa", "dtype"),
    [
        ("bfloat16", {"avx512_bf16"}, "bfloat16"),
        ("bfloat16", {"amx_bf16"}, "bfloat16"),
        ("bfloat16", {"avx2"}, "float32"),
        ("float16", {"avx512_bf16"}, "float32"),
        ("float16", {"avx512_fp16"}, "float16"),
        ("float32", {"avx512_bf16"}, "float32"),
    ],
)
def test_dtype_follows_checkpoint_and_cpu(stored, isa, dtype):
    resolution = run(card=make_card(dtype=stored), machine=make_machine(isa=frozenset(isa)))
    assert resolution.engine.dtype == dtype
    assert reason(resolution, "dtype")


def test_dtype_stays_narrow_where_float32_would_fill_the_memory():
    machine = make_machine(isa=frozenset({"avx2"}), memory_available_bytes=16 * GIB)
    resolution = run(card=make_card(weight_bytes=7 * GIB), machine=machine)
    assert resolution.engine.dtype == "bfloat16"
    assert "too much memory" in reason(resolution, "dtype")


def test_asked_dtype_is_no_decision():
    assert not [entry for entry in run("--dtype", "float32").decisions if entry.setting == "dtype"]


@pytest.mark.parametrize(
    ("changes", "threads", "words"),
    [
        ({}, 8, "8 cores granted"),
        ({"num_cores": 2, "num_physical_cores": 2, "cores_limited_by": "CPU affinity"}, 2, "by CPU affinity"),
        ({"num_cores": 8, "num_physical_cores": 4}, 4, "4 physical cores behind 8 hardware threads"),
    ],
)
def test_threads_follow_the_cores(changes, threads, words):
    resolution = run(machine=make_machine(**changes))
    assert resolution.engine.num_threads == threads
    assert words in reason(resolution, "omp-num-threads")


def test_whole_prompts_make_the_step_as_long_as_the_context():
    resolution = run("--no-enable-chunked-prefill")
    assert resolution.engine.scheduler.max_num_batched_tokens == 4096
    with pytest.raises(
        ConfigError, match="--max-num-batched-tokens 512 is less than the context of 4096 tokens"
    ):
        run("--no-enable-chunked-prefill", "--max-num-batched-tokens", "512")


def test_int4_says_how_and_what_would_change_it():
    resolution = run("--quantization", "int4", "--int4-group-size", "32")
    assert resolution.engine.quantization == "int4-32"
    decisions = {decision.setting: decision for decision in resolution.decisions}
    assert "int4-group-size" not in decisions
    assert decisions["int4-activations"].choice == "int8"
    assert decisions["int4-activations"].override == "--int4-activations"
    plain, quantised = run().memory.weight_bytes, resolution.memory.weight_bytes
    assert quantised < plain / 2


def test_details_of_int4_without_it_are_said_to_be_idle():
    resolution = run("--int4-group-size", "32")
    assert resolution.engine.quantization == ""
    (said,) = [decision for decision in resolution.decisions if decision.setting == "int4-group-size"]
    assert said.reason == "nothing reads it without --quantization int4"


def test_sequences_fit_the_step():
    resolution = run("--max-num-batched-tokens", "16")
    assert resolution.engine.scheduler.max_num_seqs == 16
    assert "a step of 16 tokens" in reason(resolution, "max-num-seqs")
    with pytest.raises(ConfigError, match="--max-num-seqs 17 is more than --max-num-batched-tokens 16"):
        run("--max-num-batched-tokens", "16", "--max-num-seqs", "17")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--long-prefill-token-threshold", "5000"], "is beyond the context of 4096 tokens"),
        (["--long-prefill-token-threshold", "5", "--no-enable-chunked-prefill"], "forbids it"),
        (["--ssl-keyfile", "k.pem"], "--ssl-keyfile needs --ssl-certfile"),
        (["--trust-remote-code"], "^--trust-remote-code is refused: Quire never runs code"),
        (["--max-model-len", "5000"], "at most 4096, or set VLLM_ALLOW_LONG_MAX_MODEL_LEN=1"),
        (
            ["--override-generation-config.beam", "3"],
            "beam is not a sampling default; give any of temperature",
        ),
        (["--override-generation-config.top_p", "3"], "^--override-generation-config: top_p must be between"),
        (
            ["--override-generation-config.top_k", "many"],
            "^--override-generation-config: top_k must be an integer",
        ),
    ],
)
def test_refused_combinations(words, message):
    with pytest.raises(ConfigError, match=message) as caught:
        run(*words)
    assert caught.value.setting


def test_a_table_of_positions_has_no_beyond():
    environ = {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}
    assert run("--max-model-len", "8192", environ=environ).engine.max_model_len == 8192
    with pytest.raises(ConfigError, match="learned embedding for each of its 4096 positions"):
        run("--max-model-len", "8192", environ=environ, card=make_card(model_type="gpt2"))


def test_trust_remote_code_may_be_declined():
    assert run("--no-trust-remote-code").engine.card.name == "org/example"


def test_generation_defaults_override_by_either_name():
    card = make_card(sampling_defaults={"temperature": 0.6, "top_k": 20})
    assert run(card=card).server.sampling_defaults == {"temperature": 0.6, "top_k": 20}
    changed = run("--override-generation-config", '{"max_new_tokens": 9, "top_k": 5}', card=card)
    assert changed.server.sampling_defaults == {"temperature": 0.6, "top_k": 5, "max_tokens": 9}
    only_override = run("--generation-config", "vllm", "--override-generation-config.min_p", "0.1", card=card)
    assert only_override.server.sampling_defaults == {"min_p": 0.1}


def test_served_name_defaults_to_the_model():
    assert run().server.served_model_names == ["org/example"]


def test_tokenizer_folder_is_the_models_unless_given():
    asked = Asked.from_arguments([], {})
    assert resolve(asked, make_card(), make_machine()).engine.text_folder == "/models/example"
    other = resolve(asked, make_card(), make_machine(), tokenizer_folder="/elsewhere")
    assert other.engine.text_folder == "/elsewhere"


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (State(Effect.REFUSED, "needs a GPU"), "--warp 9 is refused: needs a GPU"),
        (State(Effect.WITHOUT_EFFECT, "no warps on CPUs"), "no warps on CPUs"),
    ],
)
def test_states_of_a_platform_are_applied(state, outcome):
    warp = Setting(
        name="warp", group="G", kind=kinds.integer(0), default=0, doc="Speed.", states={"cpu": state}
    )
    table = Table([warp])
    asked = Asked.from_arguments(["--warp", "9"], {}, table)
    if state.effect is Effect.REFUSED:
        with pytest.raises(ConfigError, match=outcome):
            asked.refuse_by_state("cpu")
    else:
        assert [note.reason for note in asked.refuse_by_state("cpu")] == [outcome]
    assert asked.refuse_by_state("cuda") == []
    assert Asked.from_arguments(["--warp", "0"], {}, table).refuse_by_state("cpu") == []


def test_a_removed_setting_says_since_when_and_what_instead():
    gone = Setting(name="old", group="G", kind=kinds.integer(0), default=0, doc="use --new.", removed="0.33")
    (note,) = Asked.from_arguments(["--old", "1"], {}, Table([gone])).refuse_by_state("cpu")
    assert note.reason == "removed in 0.33: use --new."


def test_two_settings_cannot_claim_one_name():
    one = Setting(name="enable-x", group="G", kind=kinds.switch(), doc="")
    two = Setting(name="disable-x", group="G", kind=kinds.switch(), doc="")
    with pytest.raises(ValueError, match="is claimed by"):
        Table([one, two])
