"""`quire bench accuracy`: what each format of weights and cache costs in right answers, and gains in speed."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy

from quire.api.bench.engine import say
from quire.api.bench.formats import REFERENCE, choose
from quire.api.bench.options import Options, whole, write_file, write_result
from quire.api.bench.pictures import figure_picture
from quire.api.bench.tasks import Probe, read_tasks, score_answers
from quire.base.errors import ConfigError
from quire.base.hardware import probe_machine
from quire.base.messages import SamplingParams

if TYPE_CHECKING:
    from quire.api.llm import LLM

MAX_TOKENS = 400
Rows = numpy.ndarray[Any, numpy.dtype[numpy.float64]]  # (contexts, vocabulary)


def accuracy(words: Sequence[str]) -> int:
    """Every format answers the tasks; its logits stand against float32's on the same contexts."""
    options = Options(
        "accuracy", "Task scores and logit error of each weight and KV format, beside its speed."
    )
    options.add_argument(
        "--tasks", type=Path, required=True, metavar="FILE", help="questions, a JSON object each"
    )
    options.add_argument("--num-tasks", type=whole(1), help="only so many of them, evenly chosen")
    options.add_argument("--formats", default="", metavar="A,B", help="default: all that this build offers")
    options.add_argument(
        "--num-contexts", type=whole(1), default=64, help="contexts whose logits are compared"
    )
    options.epilog = (
        "All engine options of `quire serve` are understood too; without --model, the built-in one."
    )
    asked, given = options.parse_with_engine(words)
    taken = {"dtype", "quantization", "kv_cache_dtype"} & given.keys()
    if taken:
        raise ConfigError(
            f"--{min(taken).replace('_', '-')}: formats are what is compared; choose with --formats"
        )
    tasks = evenly(read_tasks(asked.tasks), asked.num_tasks)
    formats = choose([name for name in asked.formats.split(",") if name], probe_machine().platform)
    formats = {REFERENCE: {"dtype": REFERENCE}, **formats}
    contexts: list[list[int]] = []
    reference: Rows | None = None
    rows: list[dict[str, Any]] = []
    try:
        for name, settings in formats.items():
            say(f"{name}: answering {len(tasks)} questions")
            llm = _load({**given, **settings})
            answers, prompts, speed = answer_tasks(llm, tasks)
            if not contexts:
                contexts = make_contexts(prompts, answers, asked.num_contexts)
            logits = logit_rows(llm, contexts)
            if reference is None:
                reference = logits
            scores = score_answers(
                tasks, {probe["id"]: text for probe, (text, _) in zip(tasks, answers, strict=True)}
            )
            del llm
            row = {
                "format": name,
                **_totals(scores),
                **logit_error(logits, reference),
                "output_tokens_per_s": speed,
            }
            rows.append(row | {"tasks": scores})
            print(_line(row), flush=True)
    except KeyboardInterrupt:
        print("interrupted; this is what there is")
    write_result(asked.output_json, {"formats": rows})
    if asked.plot and rows:
        bars = [(row["format"], 100 * row["accuracy"], "") for row in rows]
        write_file(asked.plot, figure_picture("Questions answered right", "%", bars))
    return 0 if rows else 130


def _load(settings: dict[str, Any]) -> LLM:
    from quire.api.llm import LLM

    # raw logits of the whole vocabulary come back as "log-probabilities"
    return LLM(**{**settings, "logprobs_mode": "raw_logits", "max_logprobs": -1})


def evenly(tasks: list[Probe], count: int | None) -> list[Probe]:
    """`count` of the tasks, from all over the file; all without a count."""
    if count is None or count >= len(tasks):
        return tasks
    return [tasks[index * len(tasks) // count] for index in range(count)]


def answer_tasks(llm: LLM, tasks: list[Probe]) -> tuple[list[tuple[str, list[int]]], list[list[int]], float]:
    """(text, tokens) of each answer, the prompts' tokens, and output tokens per second. Questions
    with the same tools run together."""
    from tqdm import tqdm

    sampling = SamplingParams(temperature=0.0, max_tokens=MAX_TOKENS)
    groups: dict[str, list[int]] = {}
    for index, probe in enumerate(tasks):
        groups.setdefault(json.dumps([probe["tools"], probe["enable_thinking"]]), []).append(index)
    answers: list[tuple[str, list[int]]] = [("", [])] * len(tasks)
    prompts: list[list[int]] = [[]] * len(tasks)
    started_s = time.perf_counter()
    with tqdm(total=len(tasks), unit="question", dynamic_ncols=True) as bar:
        for group, indices in groups.items():
            tools, thinks = json.loads(group)
            outputs = llm.chat(
                [tasks[index]["messages"] for index in indices],
                sampling,
                use_tqdm=False,
                tools=tools or None,
                chat_template_kwargs={"enable_thinking": True} if thinks else None,
            )
            for index, output in zip(indices, outputs, strict=True):
                answers[index] = (output.outputs[0].text, output.outputs[0].token_ids)
                prompts[index] = output.prompt_token_ids
            bar.update(len(indices))
    tokens = sum(len(ids) for _, ids in answers)
    return answers, prompts, tokens / (time.perf_counter() - started_s)


def make_contexts(
    prompts: list[list[int]], answers: list[tuple[str, list[int]]], count: int
) -> list[list[int]]:
    """Prompts with the first half of the reference's answer: places in the middle of what the model says."""
    whole_contexts = [
        prompt + ids[: len(ids) // 2] for prompt, (_, ids) in zip(prompts, answers, strict=True)
    ]
    count = min(count, len(whole_contexts))
    return [whole_contexts[index * len(whole_contexts) // count] for index in range(count)]


def logit_rows(llm: LLM, contexts: list[list[int]]) -> Rows:
    """The next token's logits after each context."""
    llm.reset_prefix_cache()  # so that the KV format acts on the whole of each context
    sampling = SamplingParams(temperature=0.0, max_tokens=1, logprobs=-1, detokenize=False)
    outputs = llm.generate(list(contexts), sampling, use_tqdm=False)
    vocab_size = llm.config.card.vocab_size
    rows = numpy.full((len(contexts), vocab_size), -numpy.inf)
    for row, output in zip(rows, outputs, strict=True):
        found = output.outputs[0].logprobs
        assert found is not None, "logits were asked for"
        for token_id, entry in found[0].items():
            row[token_id] = entry.logprob
    return rows


def logit_error(logits: Rows, reference: Rows) -> dict[str, float]:
    """Absolute differences, and the mean divergence (in nats) of the distribution from the reference's."""
    both = numpy.isfinite(logits) & numpy.isfinite(reference)
    apart = numpy.abs(logits[both] - reference[both])
    divergence = 0.0
    for row, expected in zip(logits, reference, strict=True):
        mine, theirs = _log_softmax(row), _log_softmax(expected)
        counts = numpy.isfinite(theirs)
        divergence += float(numpy.sum(numpy.exp(theirs[counts]) * (theirs[counts] - mine[counts])))
    return {
        "logit_error_max": float(apart.max()),
        "logit_error_mean": float(apart.mean()),
        "kl_divergence": divergence / len(reference),
        "same_best_token": float(numpy.mean(logits.argmax(1) == reference.argmax(1))),
    }


def _log_softmax(row: Rows) -> Rows:
    shifted = row - row.max()
    result: Rows = shifted - math.log(float(numpy.exp(shifted).sum()))
    return result


def _totals(scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    right, total = (sum(score[key] for score in scores.values()) for key in ("right", "total"))
    return {"right": right, "total": total, "accuracy": right / total}


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['format']:<22} {row['right']:>4} of {row['total']} right ({100 * row['accuracy']:.1f} %)  "
        f"logits off by {row['logit_error_mean']:.4f} on average, {row['logit_error_max']:.4f} at most, "
        f"KL {row['kl_divergence']:.2e}, same best token {100 * row['same_best_token']:.1f} %  "
        f"{row['output_tokens_per_s']:.0f} tok/s"
    )
