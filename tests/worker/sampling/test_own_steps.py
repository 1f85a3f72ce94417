"""Logits processors of the user's own: what they see and change, whom they concern, and that they fail alone."""

from __future__ import annotations

import pytest
import torch

from quire.api.llm import LLM
from quire.base.errors import ConfigError, InvalidValue
from quire.base.messages import SamplingParams, SequenceStart
from quire.worker.sampling import Processors, Sampler, SampleRequest

HERE = __name__
VOCAB_SIZE = 16


class OnlyEven:
    """Requests that say so get even tokens only."""

    arguments = ("only_even", "breaks")

    def __init__(self, config, device, is_pin_memory):
        assert is_pin_memory is False
        self.device = device

    @classmethod
    def validate_params(cls, params):
        if not isinstance((params.extra_args or {}).get("only_even", False), bool):
            raise ValueError("only_even must be true or false")

    def is_argmax_invariant(self):
        return False

    def new_req_logits_processor(self, params):
        asked = params.extra_args or {}
        if asked.get("breaks"):
            return self.fail
        return self.change if asked.get("only_even") else None

    def change(self, output_ids, logits):
        logits[1::2] = -torch.inf
        return logits

    def fail(self, output_ids, logits):
        raise ZeroDivisionError


class Repeat:
    """Says the prompt again, token by token: needs no arguments, and returns logits of its own."""

    def new_req_logits_processor(self, params):
        def change(prompt_ids, output_ids, logits):
            assert isinstance(prompt_ids, list)
            chosen = torch.full_like(logits, -torch.inf)
            chosen[prompt_ids[len(output_ids) % len(prompt_ids)]] = 0.0
            return chosen

        return change


class Narrow:
    def new_req_logits_processor(self, params):
        return lambda output_ids, logits: logits[:3]


class Broken:
    def __init__(self):
        raise OSError("no file")

    def new_req_logits_processor(self, params): ...


class Shy(Repeat):
    def is_argmax_invariant(self):
        return True


class Outer:
    class Inner(Repeat): ...


def sampler_with(*classes: str) -> Sampler:
    return Sampler(VOCAB_SIZE, "raw_logprobs", 5, None, Processors([f"{HERE}:{name}" for name in classes]))


def draw(sampler: Sampler, *asked: SamplingParams, prompt=(3, 4, 5)):
    """One row for each request; the largest logit is token 15's."""
    for number, sampling in enumerate(asked):
        sampler.start(
            SequenceStart(
                sequence_id=number,
                token_ids=list(prompt),
                num_prompt_tokens=len(prompt),
                sampling=sampling,
                seed=1,
            )
        )
    logits = torch.arange(float(VOCAB_SIZE)).repeat(len(asked), 1)
    return sampler.sample(logits, [SampleRequest(number, 1, len(prompt)) for number in range(len(asked))])


def greedy(**extra_args) -> SamplingParams:
    return SamplingParams(temperature=0, extra_args=extra_args or None)


def test_only_requests_that_say_so_are_changed():
    rows = draw(sampler_with("OnlyEven"), greedy(only_even=True), greedy(), greedy(only_even=False))
    assert [row.token_ids for row in rows] == [[14], [15], [15]]
    hot = SamplingParams(temperature=5.0, extra_args={"only_even": True}, seed=1)
    for row in draw(sampler_with("OnlyEven"), *[hot] * 8):
        assert row.token_ids[0] % 2 == 0


def test_a_processor_that_raises_fails_its_row_only(caplog):
    rows = draw(sampler_with("OnlyEven"), greedy(only_even=True), greedy(breaks=True), greedy())
    assert [row.token_ids for row in rows] == [[14], [], [15]]
    assert rows[1].error == "sampling raised ZeroDivisionError; the server's log has the details"


def test_arguments_can_be_refused():
    (row,) = draw(sampler_with("OnlyEven"), greedy(only_even="yes"))
    assert row.error == "extra_args is refused: only_even must be true or false"


def test_logits_may_be_new_ones_made_from_the_prompt():
    sampler = sampler_with("Repeat")
    assert [row.token_ids for row in draw(sampler, greedy(), prompt=(3, 4))] == [[3]]
    logits = torch.zeros(1, VOCAB_SIZE)
    assert sampler.sample(logits, [SampleRequest(0, 1, 3)])[0].token_ids == [4]


def test_greedy_requests_may_be_left_alone():
    rows = draw(sampler_with("Shy"), greedy(), SamplingParams(temperature=1.0))
    assert [row.token_ids for row in rows] == [[15], [3]]


def test_logits_of_another_shape_fail_their_row():
    (row,) = draw(sampler_with("Narrow"), greedy())
    assert row.error == "a logits processor made (3,) of logits of shape (16,)"


def test_processors_apply_in_order():
    (row,) = draw(sampler_with("Outer.Inner", "OnlyEven"), greedy(only_even=True), prompt=(4,))
    assert row.token_ids == [4]
    (row,) = draw(sampler_with("Repeat", "OnlyEven"), greedy(only_even=True), prompt=(5,))
    assert row.error is not None and "the server's logits processors" in row.error  # nothing is left


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no installed package offers 'nothing' under quire.logits_processors or vllm.log"),
        ("no.such:Class", "no cannot be imported|no.such cannot be imported"),
        (f"{HERE}:Nobody", "has no Nobody"),
        (f"{HERE}:greedy", "is no class with a method new_req_logits_processor"),
        ("quire.base.messages.SamplingParams", "is no class with a method"),
        (f"{HERE}:Broken", r"failed \(OSError: no file\)"),
    ],
)
def test_what_is_no_processor_is_one_sentence(name, message):
    with pytest.raises(ConfigError, match=f"^--logits-processors: .*({message})"):
        Processors([name])


def test_installed_packages_offer_processors_by_name(tmp_path, monkeypatch):
    (tmp_path / "even-1.dist-info").mkdir()
    (tmp_path / "even-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: even\nVersion: 1\n")
    (tmp_path / "even-1.dist-info" / "entry_points.txt").write_text(
        f"[vllm.logits_processors]\neven = {HERE}:OnlyEven\nbad = {HERE}:Nobody\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert Processors(["even"]).arguments == ["breaks", "only_even"]
    with pytest.raises(ConfigError, match=r"--logits-processors: bad cannot be loaded \(AttributeError"):
        Processors(["bad"])
    with pytest.raises(ConfigError, match="there is bad, even"):
        Processors(["odd"])


def test_a_model_with_processors_gives_the_same_tokens_in_any_company():
    llm = LLM(max_model_len=256, logits_processors=[OnlyEven])
    asked = [
        SamplingParams(temperature=0, max_tokens=6, extra_args={"only_even": True}),
        SamplingParams(max_tokens=6),
    ]
    together = llm.generate(["Once upon", "Once upon"], asked, use_tqdm=False)
    (alone,) = llm.generate(["Once upon"], asked[0], use_tqdm=False)
    assert together[0].outputs[0].token_ids == alone.outputs[0].token_ids
    assert all(token_id % 2 == 0 for token_id in alone.outputs[0].token_ids)
    with pytest.raises(
        InvalidValue, match="extra_args: 'odd' is not an argument here; there is breaks, only_even"
    ):
        llm.generate(["x"], SamplingParams(extra_args={"odd": 1}), use_tqdm=False)


def test_a_class_made_inside_a_function_is_refused():
    class Local(Repeat): ...

    with pytest.raises(ConfigError, match="is made inside a function"):
        LLM(logits_processors=[Local])
