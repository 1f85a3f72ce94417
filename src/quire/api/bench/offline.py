"""`quire bench latency` and `throughput`: the engine in this process, without a server."""

from __future__ import annotations

import time
from collections.abc import Sequence

from quire.api.bench.engine import Engine, add_shape_option, prompts, say, settings_of
from quire.api.bench.options import Options, positive, whole, write_file, write_result
from quire.api.bench.pictures import figure_picture, percentile_picture
from quire.api.bench.statistics import percentile

PERCENTS = (10, 25, 50, 75, 90, 99)


def latency(words: Sequence[str]) -> int:
    """Time whole batches, one after another. Ctrl-C prints what there is."""
    from tqdm import tqdm

    options = Options("latency", "Time one batch of requests after another.")
    options.add_argument("--input-len", type=whole(1), default=32)
    options.add_argument("--output-len", type=whole(1), default=128)
    options.add_argument("--batch-size", type=whole(1), default=8)
    options.add_argument("--num-iters-warmup", type=whole(0), default=2)
    options.add_argument("--num-iters", type=whole(1), default=10)
    options.add_argument("--time-limit-s", type=positive, default=600.0, help="end after this long")
    add_shape_option(options)
    asked, given = options.parse_with_engine(words)
    latencies: list[float] = []
    with settings_of(asked, given) as settings:
        engine = Engine(settings)
        try:
            rounds = asked.num_iters_warmup + asked.num_iters
            end_s = time.perf_counter() + asked.time_limit_s
            for index in tqdm(range(rounds), unit="batch", dynamic_ncols=True):
                batch = prompts(asked.batch_size, asked.input_len, engine.config.card.vocab_size, index)
                took_s = _timed_run(engine, batch, asked.output_len)
                if index >= asked.num_iters_warmup:
                    latencies.append(took_s)
                if time.perf_counter() > end_s:
                    say(f"ended early by --time-limit-s {asked.time_limit_s:g}")
                    break
        except KeyboardInterrupt:
            say(f"interrupted after {len(latencies)} batches")
    if not latencies:
        return 130
    mean_s = sum(latencies) / len(latencies)
    marks = {str(mark): percentile(latencies, mark) for mark in PERCENTS}
    print(f"Avg latency: {mean_s:.4f} s over {len(latencies)} batches of {asked.batch_size}")
    for mark, value in marks.items():
        print(f"{mark}% percentile latency: {value:.4f} s")
    write_result(
        asked.output_json,
        {
            "model_id": engine.config.card.name,
            "input_len": asked.input_len,
            "output_len": asked.output_len,
            "batch_size": asked.batch_size,
            "avg_latency": mean_s,
            "latencies": latencies,
            "percentiles": marks,
        },
    )
    if asked.plot:
        write_file(
            asked.plot, percentile_picture("Latency of a batch", [1000 * value for value in latencies])
        )
    return 0


def _timed_run(engine: Engine, batch: list[list[int]], output_tokens: int) -> float:
    """Seconds from submitting the batch to its last token. Raises RuntimeError when tokens are missing."""
    engine.forget_prefixes()
    started_s = time.perf_counter()
    for prompt in batch:
        engine.submit(prompt, output_tokens)
    tokens = engine.run()
    took_s = time.perf_counter() - started_s
    if tokens != len(batch) * output_tokens:
        raise RuntimeError(f"the engine gave {tokens} tokens for {len(batch)} requests of {output_tokens}")
    return took_s


def throughput(words: Sequence[str]) -> int:
    """Time many requests at once."""
    from tqdm import tqdm

    options = Options("throughput", "Give the engine many requests at once.")
    options.add_argument("--input-len", "--random-input-len", type=whole(1), default=128)
    options.add_argument("--output-len", "--random-output-len", type=whole(1), default=64)
    options.add_argument("--num-prompts", type=whole(1), default=32)
    options.add_argument("--num-iters", type=whole(1), default=1, help="the fastest of so many runs counts")
    options.add_argument("--time-limit-s", type=positive, default=600.0, help="end after this long")
    add_shape_option(options)
    asked, given = options.parse_with_engine(words)
    took_s: list[float] = []
    end_s = time.perf_counter() + asked.time_limit_s
    with settings_of(asked, given) as settings:
        engine = Engine(settings)
        _timed_run(engine, prompts(1, asked.input_len, engine.config.card.vocab_size, -1), 2)  # warm
        total = asked.num_prompts * asked.output_len
        for index in range(asked.num_iters):
            engine.forget_prefixes()
            batch = prompts(asked.num_prompts, asked.input_len, engine.config.card.vocab_size, index)
            tokens, started_s = 0, time.perf_counter()
            with tqdm(total=total, unit="tok", dynamic_ncols=True) as bar:
                try:
                    for prompt in batch:
                        engine.submit(prompt, asked.output_len)
                    while tokens < total and time.perf_counter() < end_s:
                        new = engine.step()
                        tokens += new
                        bar.update(new)
                except KeyboardInterrupt:
                    say("interrupted")
            if tokens < total:
                engine.abandon()
                say(f"ended early with {tokens} of {total} tokens; only whole runs count")
                break
            took_s.append(time.perf_counter() - started_s)
    if not took_s:
        return 130
    best_s = min(took_s)
    num_tokens = asked.num_prompts * (asked.input_len + asked.output_len)
    result = {
        "model_id": engine.config.card.name,
        "elapsed_time": best_s,
        "elapsed_times": took_s,
        "num_requests": asked.num_prompts,
        "total_num_tokens": num_tokens,
        "requests_per_second": asked.num_prompts / best_s,
        "tokens_per_second": num_tokens / best_s,
        "output_tokens_per_second": total / best_s,
    }
    print(
        f"Throughput: {asked.num_prompts / best_s:.2f} requests/s, {num_tokens / best_s:.2f} total tokens/s, "
        f"{total / best_s:.2f} output tokens/s"
    )
    write_result(asked.output_json, result)
    if asked.plot:
        rows = [(f"run {index + 1}", num_tokens / value, "") for index, value in enumerate(took_s)]
        write_file(asked.plot, figure_picture("Tokens per second", "tok/s", rows))
    return 0
