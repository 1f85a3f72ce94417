"""The field tables: every known field is taken, harmless or refused, and all three mean what they say."""

from __future__ import annotations

import pytest

from quire.api.server.fields import FieldTable, Refusal
from quire.api.server.openai.protocol_chat import CHAT_FIELDS
from quire.api.server.openai.protocol_completions import COMPLETION_FIELDS
from quire.base.errors import InvalidValue, Unsupported
from quire.base.messages import SamplingParams

TABLE = FieldTable(
    taken=["size"],
    harmless={"label": str},
    refused={"colour": Refusal("there is one", unless=("grey",)), "count": Refusal("no", unless=(1, []))},
)

# OpenAI's and vLLM's fields of the two routes; none may be unknown to us
OPENAI_CHAT = (
    "messages model audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens "
    "max_tokens metadata modalities n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "reasoning_effort response_format safety_identifier seed service_tier stop store stream stream_options "
    "temperature tool_choice tools top_logprobs top_p user verbosity web_search_options"
)
OPENAI_TEXT = (
    "model prompt best_of echo frequency_penalty logit_bias logprobs max_tokens n presence_penalty seed stop stream "
    "stream_options suffix temperature top_p user"
)
VLLM = (
    "top_k min_p repetition_penalty length_penalty use_beam_search stop_token_ids include_stop_str_in_output "
    "ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens truncation_side "
    "prompt_logprobs logprob_token_ids allowed_token_ids bad_words add_special_tokens structured_outputs priority "
    "request_id session_id return_tokens_as_token_ids return_token_ids cache_salt kv_transfer_params "
    "ec_transfer_params vllm_xargs repetition_detection thinking_token_budget stream_interval watermarking "
    "return_weight_versions routed_experts_prompt_start return_token_offsets mm_payload"
)
VLLM_CHAT = (
    "echo add_generation_prompt continue_final_message documents chat_template chat_template_kwargs media_io_kwargs "
    "mm_processor_kwargs include_reasoning return_prompt_text"
)


def test_only_taken_fields_are_kept():
    assert TABLE.check({"size": 3, "label": "x", "colour": "grey", "count": 1}) == {"size": 3}
    assert TABLE.check({"size": None, "label": None, "colour": None}) == {}


@pytest.mark.parametrize(
    ("fields", "error", "name"),
    [
        ({"label": 3}, InvalidValue, "label"),
        ({"colour": "red"}, Unsupported, "colour"),
        ({"count": True}, Unsupported, "count"),
        ({"count": 1.0}, Unsupported, "count"),
        ({"count": [1]}, Unsupported, "count"),
        ({"sise": 1}, InvalidValue, "sise"),
        ({"sise": None}, InvalidValue, "sise"),
    ],
)
def test_others_are_refused_by_name(fields, error, name):
    with pytest.raises(error) as caught:
        TABLE.check(fields)
    assert caught.value.field == name


def test_the_nearest_name_is_offered():
    with pytest.raises(InvalidValue, match="did you mean `size`"):
        TABLE.check({"sise": 1})


def test_a_field_cannot_mean_two_things():
    with pytest.raises(AssertionError):
        FieldTable(taken=["size"], harmless={}, refused={"size": Refusal("no")})


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (CHAT_FIELDS, f"{OPENAI_CHAT} {VLLM} {VLLM_CHAT}"),
        (COMPLETION_FIELDS, f"{OPENAI_TEXT} {VLLM} prompt_embeds"),
    ],
)
def test_every_openai_and_vllm_field_is_known(table, names):
    assert set(names.split()) <= set(table.names)


@pytest.mark.parametrize("table", [CHAT_FIELDS, COMPLETION_FIELDS])
def test_every_sampling_parameter_is_known(table):
    own = {"output_kind", "extra_args"}  # the latter is vllm_xargs on the wire
    assert set(SamplingParams.__struct_fields__) - own <= set(table.names)
