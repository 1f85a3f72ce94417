"""Score the held-out questions against a server or a folder: the yardstick for formats, caches and adapters.

    python tools/builtin_model/score.py --base-url http://127.0.0.1:8000/v1
    python tools/builtin_model/score.py --folder src/quire/assets/folio --output scores.json

Any OpenAI-compatible server will do; a folder is run through transformers in float32. Greedy decoding.
Scoring itself is `quire.api.bench.tasks`.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from quire.api.bench.tasks import Answer, Probe, read_tasks, score_answers

HELDOUT = Path(__file__).parents[2] / "tests/golden/builtin/heldout.jsonl"
MAX_TOKENS = 400
REQUIRED_ACCURACY = 0.95
Ask = Callable[[Probe], Answer]


def request_of(probe: Probe, model: str) -> dict[str, Any]:
    """The chat request that asks a probe."""
    body: dict[str, Any] = {
        "model": model,
        "messages": probe["messages"],
        "temperature": 0.0,
        "max_tokens": MAX_TOKENS,
    }
    if probe["tools"]:
        body["tools"] = probe["tools"]
    if probe["enable_thinking"]:
        body["chat_template_kwargs"] = {"enable_thinking": True}
    return body


def fetched(url: str, key: str, body: dict[str, Any] | None = None) -> Any:
    """JSON from a GET, or a POST when there is a body; an HTTP error is raised with what the server said."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=600) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: {error.code} {error.read().decode(errors='replace')}") from error


def ask_server(base_url: str, model: str | None, key: str) -> Ask:
    """A function that asks an OpenAI-compatible server; without a name its first model is taken."""
    base_url = base_url.rstrip("/")
    name: str = model or fetched(f"{base_url}/models", key)["data"][0]["id"]

    def ask(probe: Probe) -> Answer:
        reply = fetched(f"{base_url}/chat/completions", key, request_of(probe, name))
        answer: Answer = reply["choices"][0]["message"]
        return answer

    return ask


def ask_folder(folder: str) -> Ask:
    """A function that asks a Hugging Face folder through transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def ask(probe: Probe) -> Answer:
        inputs = tokenizer.apply_chat_template(
            probe["messages"],
            tools=probe["tools"] or None,
            add_generation_prompt=True,
            enable_thinking=probe["enable_thinking"],
            return_tensors="pt",
            return_dict=True,
        )
        output = model.generate(
            **inputs, max_new_tokens=MAX_TOKENS, do_sample=False, temperature=None, top_p=None
        )
        text: str = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return text

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--base-url", help="an OpenAI-compatible server, with its /v1")
    source.add_argument("--folder", help="a Hugging Face folder, run through transformers")
    parser.add_argument("--model", help="the model's name on the server (default: the first it lists)")
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--heldout", type=Path, default=HELDOUT)
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time to a server")
    parser.add_argument("--output", type=Path, help="write scores and answers as JSON")
    parser.add_argument("--show-wrong", action="store_true")
    asked = parser.parse_args()
    heldout = read_tasks(asked.heldout)
    ask = ask_folder(asked.folder) if asked.folder else ask_server(asked.base_url, asked.model, asked.api_key)
    with ThreadPoolExecutor(1 if asked.folder else asked.concurrency) as pool:
        answers = dict(zip((probe["id"] for probe in heldout), pool.map(ask, heldout), strict=True))
    scores = score_answers(heldout, answers)
    for task, score in scores.items():
        print(f"{task:12} {score['right']:4}/{score['total']:<4} {100 * score['accuracy']:6.1f} %")
    wrong = {name for score in scores.values() for name in score["wrong"]}
    for probe in heldout if asked.show_wrong else []:
        if probe["id"] in wrong:
            print(f"{probe['id']}: {probe['messages'][-1]['content']!r}")
            print(f"  expected {probe['expected']}\n  got      {answers[probe['id']]!r}")
    if asked.output:
        asked.output.write_text(json.dumps({"scores": scores, "answers": answers}, indent=1) + "\n")
    sys.exit(any(score["accuracy"] < REQUIRED_ACCURACY for score in scores.values()))


if __name__ == "__main__":
    main()
