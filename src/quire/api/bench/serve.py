"""`quire bench serve`: loads a running server with a workload and times every stream."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quire.api.bench import workload
from quire.api.bench.arrivals import arrival_times_s
from quire.api.bench.client import Client, Reply
from quire.api.bench.load import CHAT, COMPLETIONS, Outcome, Target, offer
from quire.api.bench.metrics import NAMES, describe, details, summarise
from quire.api.bench.options import Options, positive, whole, write_file, write_result
from quire.api.bench.pictures import concurrency_picture, latency_picture
from quire.api.bench.workload import Lengths, Talk
from quire.base.errors import ConfigError

BACKENDS = {"openai": COMPLETIONS, "vllm": COMPLETIONS, "openai-chat": CHAT}
DATASETS = ("random", "prefix_repetition", "multi-turn", "custom", "sharegpt", "trace")


def serve(words: Sequence[str]) -> int:
    """Measure; returns 0, or 1 when no request came through. Ctrl-C prints what there is."""
    asked = _options().parse(words)
    goals_ms = _goals(asked.goodput)
    base_url = asked.base_url or f"http://{asked.host}:{asked.port}"
    key = asked.api_key or os.environ.get("OPENAI_API_KEY", "")
    model = asked.model or first_model(base_url, key)
    target = Target(model, asked.endpoint or BACKENDS[asked.backend], _fields(asked))
    runs = []
    for index, limit in enumerate(asked.max_concurrency or [0]):
        # other prompts in every run: the server's prefix cache knows the earlier ones
        talks = _talks(asked, target, asked.seed + index)
        outcome = asyncio.run(_measure(asked, base_url, key, target, talks, limit))
        shown = asked.percentile_metrics.split(",")
        result = summarise(outcome, shown=shown, percents=asked.metric_percentiles, goals_ms=goals_ms)
        print(_heading(limit, len(talks), model), describe(result), sep="\n", flush=True)
        _tell_errors(outcome)
        runs.append(
            {**_asked_facts(asked, target, limit), **result}
            | (details(outcome) if asked.save_detailed else {})
        )
        if outcome.was_cut == "Ctrl-C":
            break
    _write(asked, runs)
    return 0 if any(run["completed"] for run in runs) else 1


def _options() -> Options:
    options = Options("serve", "Load a running server with OpenAI's API and time its streams.")
    add = options.add_argument
    add("--base-url", default="", help="server without /v1 (default: http://HOST:PORT)")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8000)
    add("--backend", choices=[*BACKENDS], default="openai", help="openai: completions, openai-chat: chat")
    add("--endpoint", default="", help="path of the route, where it is not the backend's usual one")
    add("--model", default="", help="name to ask for (default: the server's first)")
    add("--api-key", default="", help="default: $OPENAI_API_KEY")
    add("--header", action="append", default=[], metavar="NAME=VALUE", help="a header for every request")
    add("--dataset-name", choices=DATASETS, default="random")
    add("--dataset-path", type=Path, help="file of custom, sharegpt or trace")
    add("--num-prompts", type=whole(1), default=100, help="requests, or conversations of multi-turn")
    add("--random-input-len", "--input-len", type=whole(1), default=128)
    add("--random-output-len", "--output-len", type=whole(1), default=None, help="default 128")
    add("--random-range-ratio", type=float, default=0.0, help="lengths vary evenly by this share, 0 to 1")
    add("--random-prefix-len", type=whole(0), default=0, help="tokens that all prompts begin with")
    add("--num-prefixes", type=whole(1), default=10, help="different beginnings of prefix_repetition")
    add("--num-turns", type=whole(1), default=4, help="questions of a multi-turn conversation")
    add(
        "--request-rate",
        type=positive,
        default=math.inf,
        help="requests per second (default inf: all at once)",
    )
    add("--burstiness", type=positive, default=1.0, help="1: Poisson arrivals; less: bursts; more: steadier")
    add(
        "--max-concurrency",
        type=whole(1),
        nargs="+",
        help="requests at a time; several numbers: one run for each",
    )
    add("--ignore-eos", action="store_true", help="replies have their full length")
    add("--temperature", type=float, default=0.0)
    add("--extra-body", type=json.loads, default={}, metavar="JSON", help="fields for every request")
    add("--num-warmups", type=whole(0), default=1, help="requests before the clock starts")
    add("--time-limit-s", type=positive, default=1800.0, help="end after this long, with what there is")
    add("--percentile-metrics", default="ttft,tpot,itl,e2el", help=f"of {','.join(NAMES)}")
    add("--metric-percentiles", type=_percents, default=[90.0, 99.0])
    add(
        "--goodput", nargs="+", default=[], metavar="NAME:MS", help="goals that make a request good: ttft:200"
    )
    add("--seed", type=int, default=0)
    add("--save-result", action="store_true", help="write the result to --result-dir")
    add("--save-detailed", action="store_true", help="with every request's own figures")
    add("--result-dir", type=Path, default=Path())
    add("--result-filename", default="", help="default: date, rate and model")
    return options


def _percents(text: str) -> list[float]:
    values = [float(part) for part in text.split(",")]
    if not all(0 <= value <= 100 for value in values):
        raise argparse.ArgumentTypeError(f"{text} is not made of percentages, 0 to 100")
    return values


def _goals(words: Sequence[str]) -> dict[str, float]:
    goals = {}
    for word in words:
        name, _, value = word.partition(":")
        if name not in ("ttft", "tpot", "e2el"):
            raise ConfigError(f"--goodput {word}: give ttft, tpot or e2el with milliseconds, as in ttft:200")
        try:
            goals[name] = positive(value)
        except (ValueError, argparse.ArgumentTypeError):
            raise ConfigError(f"--goodput {word}: {value!r} is not a number of milliseconds") from None
    return goals


def first_model(base_url: str, key: str) -> str:
    """The first model a server lists. Raises ConfigError when there is none to ask."""
    url = f"{base_url.rstrip('/')}/v1/models"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return str(json.load(response)["data"][0]["id"])
    except (urllib.error.URLError, OSError, ValueError, LookupError) as problem:
        raise ConfigError(
            f"{url} names no model ({problem}); start a server, or give --base-url and --model"
        ) from None


def _fields(asked: argparse.Namespace) -> dict[str, Any]:
    fields: dict[str, Any] = {"temperature": asked.temperature}
    if asked.ignore_eos:
        fields["ignore_eos"] = True
    return {**fields, **asked.extra_body}


def _talks(asked: argparse.Namespace, target: Target, seed: int) -> list[tuple[float, Talk]]:
    """Every talk with its start."""
    talks = _workload(asked, target.is_chat, seed)
    if asked.dataset_name == "trace":
        return [(talk.turns[0].at_s or 0.0, talk) for talk in talks]
    times = arrival_times_s(len(talks), asked.request_rate, asked.burstiness, seed)
    return list(zip(times, talks, strict=True))


def _workload(asked: argparse.Namespace, is_chat: bool, seed: int) -> list[Talk]:
    name, wanted = asked.dataset_name, asked.random_output_len or 128
    if not 0 <= asked.random_range_ratio <= 1:
        raise ConfigError(f"--random-range-ratio {asked.random_range_ratio} is not within 0 and 1")
    lengths = Lengths(asked.random_input_len, wanted, asked.random_prefix_len, asked.random_range_ratio)
    if name == "multi-turn" and not is_chat:
        raise ConfigError("--dataset-name multi-turn is a conversation: add --backend openai-chat")
    if name in ("custom", "sharegpt", "trace") and asked.dataset_path is None:
        raise ConfigError(f"--dataset-name {name} needs --dataset-path")
    if name == "multi-turn" or (is_chat and name == "random"):
        turns = asked.num_turns if name == "multi-turn" else 1
        return workload.random_talks(asked.num_prompts, turns, lengths, seed=seed)
    if name == "random":
        return workload.single(workload.random_turns(asked.num_prompts, lengths, seed=seed))
    if name == "prefix_repetition":
        if is_chat or not lengths.prefix_tokens:
            raise ConfigError("prefix_repetition needs --random-prefix-len and the completions route")
        prompts = workload.random_turns(
            asked.num_prompts, lengths, seed=seed, num_prefixes=asked.num_prefixes
        )
        return workload.single(prompts)
    if name == "sharegpt":
        return workload.single(
            workload.sharegpt_turns(asked.dataset_path, asked.num_prompts, asked.random_output_len, seed=seed)
        )
    turns = workload.file_turns(asked.dataset_path, wanted, is_trace=name == "trace", seed=seed)
    _check_route(turns, is_chat, asked.dataset_path)
    return workload.single(turns[: asked.num_prompts])


def _check_route(turns: list[workload.Turn], is_chat: bool, path: Path) -> None:
    """Chat takes text and messages, completions text and token ids."""
    for number, turn in enumerate(turns, 1):
        kind = type(turn.prompt[0])
        if is_chat and kind is int:
            raise ConfigError(f"{path}, request {number}: token ids cannot be chatted; use --backend openai")
        if not is_chat and kind is dict:
            raise ConfigError(f"{path}, request {number}: messages need --backend openai-chat")


async def _measure(
    asked: argparse.Namespace,
    base_url: str,
    key: str,
    target: Target,
    talks: list[tuple[float, Talk]],
    limit: int,
) -> Outcome:
    from tqdm import tqdm

    headers = dict(pair.split("=", 1) for pair in asked.header if "=" in pair)
    if len(headers) != len(asked.header):
        raise ConfigError("--header: give NAME=VALUE, each name once")
    client = Client(base_url, api_key=key, headers=headers)
    try:
        for _ in range(asked.num_warmups):
            warm = await client.stream(target.endpoint, target.body(talks[0][1].turns[0], []))
            if warm.error:
                raise ConfigError(f"the server does not answer as it should: {warm.error}")
        with tqdm(total=sum(len(talk.turns) for _, talk in talks), unit="request", dynamic_ncols=True) as bar:
            tokens = 0

            def report(reply: Reply) -> None:
                nonlocal tokens
                tokens += reply.completion_tokens or len(reply.event_times_s)
                bar.set_postfix_str(
                    f"{tokens / max(bar.format_dict['elapsed'], 1e-9):.0f} tok/s", refresh=False
                )
                bar.update()

            return await offer(
                client, target, talks, max_concurrency=limit, limit_s=asked.time_limit_s, report=report
            )
    finally:
        client.close()


def _heading(limit: int, count: int, model: str) -> str:
    return f"\n{model}: {count} requests" + (f", at most {limit} at a time" if limit else "")


def _tell_errors(outcome: Outcome) -> None:
    errors = [reply.error for _, reply in outcome.replies if reply.error]
    for error in sorted(set(errors))[:5]:
        print(f"  {errors.count(error)} × {error}")


def _asked_facts(asked: argparse.Namespace, target: Target, limit: int) -> dict[str, Any]:
    return {
        "backend": asked.backend,
        "model_id": target.model,
        "dataset_name": asked.dataset_name,
        "num_prompts": asked.num_prompts,
        "request_rate": "inf" if math.isinf(asked.request_rate) else asked.request_rate,
        "burstiness": asked.burstiness,
        "max_concurrency": limit or None,
        "seed": asked.seed,
    }


def _write(asked: argparse.Namespace, runs: list[dict[str, Any]]) -> None:
    """One run is the result itself; several stand below "runs"."""
    result = runs[0] if len(runs) == 1 else {"runs": runs}
    if asked.save_result:
        rate = runs[0]["request_rate"]
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{rate}qps-{runs[0]['model_id'].replace('/', '-')}.json"
        write_result(asked.result_dir / (asked.result_filename or name), result)
    write_result(asked.output_json, result)
    if asked.plot:
        picture = latency_picture(runs[0], NAMES) if len(runs) == 1 else concurrency_picture(runs)
        write_file(asked.plot, picture)
        print(f"Picture: {asked.plot}")
