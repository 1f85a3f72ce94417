"""Train folio: next-token loss on what the assistant says, for a given number of minutes of wall-clock time.

    python tools/builtin_model/train.py --tokenizer tokenizer.json --checkpoint folio.pt --minutes 85

One single-threaded process per core works on its own rows. The weights lie in shared memory; gradients meet
there once a step, and each process steps its share of the weights. Unlike threads inside every operation, this
loses little when other programs take part of a core. Started again with the same checkpoint, training goes on
where it stopped. The learning rate follows elapsed minutes, so a run always ends with its decay done.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, multiprocessing
from torch.nn import functional as F

from corpus import ROW_WEIGHTS, WEIGHTS
from model import Folio, ModelShape, rotary_tables
from probes import TASKS, draw_probes
from rows import RowMaker

# (row length, rows per process and step, how often): about 3,200 tokens each.
ROW_SHAPES = ((160, 20, 0.3), (320, 10, 0.6), (960, 3, 0.1))
MUON_RATE, ADAM_RATE = 0.02, 0.003
# Few tokens decide about a tool call, and they are the hardest to learn: they count more.
CALL_WEIGHT = 3
WARMUP_STEPS = 60
DECAY_FRACTION = 0.45
CHECK_EVERY_S = 200.0
VALIDATION_SEED, NUM_VALIDATION = 7, 40
CLOCK_STEP, CLOCK_ELAPSED_S, CLOCK_IS_CHECK_DUE = range(3)


@dataclass
class Shared:
    """What the processes share: weights, one gradient row each, the clock, right answers and losses."""

    model: Folio
    gradients: Tensor  # [processes, parameters]
    clock: Tensor  # [step number, elapsed seconds, whether a check is due]
    right: Tensor  # [processes, tasks]
    losses: Tensor  # [processes]
    barrier: Any


class Worker:
    """One process: its rows, its share of the optimiser, its part of the checks."""

    def __init__(self, rank: int, shared: Shared, asked: argparse.Namespace) -> None:
        self.rank, self.shared, self.asked = rank, shared, asked
        self.num_workers = len(shared.losses)
        self.model = shared.model
        named = list(self.model.named_parameters())
        self.parameters = [parameter for _, parameter in named]
        matrices = [p for n, p in named if p.dim() == 2 and "embed" not in n][rank :: self.num_workers]
        others = [p for n, p in named if p.dim() != 2 or "embed" in n][rank :: self.num_workers]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.02, momentum=0.95),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.rates = (MUON_RATE, ADAM_RATE)
        self.state_path = Path(f"{asked.checkpoint}.optimizer{rank}")
        if asked.checkpoint.exists() and self.state_path.exists():
            for optimizer, state in zip(self.optimizers, torch.load(self.state_path), strict=True):
                optimizer.load_state_dict(state)
        self.body = torch.compile(self.model.model, dynamic=False) if asked.compile else self.model.model
        first_step = int(shared.clock[CLOCK_STEP])
        tokenizer = Tokenizer.from_file(str(asked.tokenizer))
        self.rows = RowMaker(tokenizer, seed=1000 * first_step + rank, weights=WEIGHTS)
        self.call_markers = [tokenizer.token_to_id(token) for token in ("<tool_call>", "</tool_call>")]
        self.probes = draw_probes(VALIDATION_SEED, "validation", NUM_VALIDATION)[rank :: self.num_workers]
        self.tables = {length: rotary_tables(length, self.model.shape) for length, _, _ in ROW_SHAPES}

    def set_rates(self) -> None:
        """Warm up over steps, hold, then fall in a straight line to nearly nothing at the end of the time."""
        step, elapsed_s = self.shared.clock[:2].tolist()
        left = max(0.0, 1 - elapsed_s / (60 * self.asked.minutes))
        scale = min(1.0, (step + 1) / WARMUP_STEPS, max(0.01, left / DECAY_FRACTION))
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale

    def loss(self) -> Tensor:
        """Mean loss over the learned tokens of freshly drawn rows; all processes draw rows of one length."""
        step = int(self.shared.clock[CLOCK_STEP])
        length, num_rows, _ = random.Random(step).choices(ROW_SHAPES, [shape[2] for shape in ROW_SHAPES])[0]
        drawn = [self.rows.row(length) for _ in range(num_rows)]
        ids = torch.stack([torch.from_numpy(row) for row, _ in drawn])
        learned = torch.stack([torch.from_numpy(marks) for _, marks in drawn])[:, 1:].flatten()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = self.body(ids[:, :-1].contiguous(), *self.tables[length]).flatten(0, 1)
            logits = self.model.logits(states[learned])
        losses = F.cross_entropy(logits.float(), ids[:, 1:].flatten()[learned], reduction="none")
        weights = 1 + (CALL_WEIGHT - 1) * self.in_call(ids)[:, 1:].flatten()[learned]
        return (losses * weights).sum() / weights.sum()

    def in_call(self, ids: Tensor) -> Tensor:
        """Which tokens of ids [rows, length] belong to a tool call."""
        opened, closed = ((ids == number).cumsum(1) for number in self.call_markers)
        return opened > closed

    def step(self) -> None:
        """Own gradients, everyone's mean, own share of the update; returns when all weights are new."""
        for parameter in self.parameters:
            parameter.grad = None
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        own = torch.cat(
            [parameter.grad.flatten() for parameter in self.parameters if parameter.grad is not None]
        )
        self.shared.gradients[self.rank].copy_(own)
        self.shared.losses[self.rank] = loss.detach()
        self.shared.barrier.wait()
        mean = self.shared.gradients.mean(0)
        mean *= min(1.0, 1.0 / (mean.norm().item() + 1e-6))
        for parameter, part in zip(
            self.parameters, mean.split([p.numel() for p in self.parameters]), strict=True
        ):
            parameter.grad = part.view_as(parameter)
        self.set_rates()
        for optimizer in self.optimizers:
            optimizer.step()
        self.shared.barrier.wait()

    @torch.no_grad()
    def count_right(self) -> None:
        """Count the own probes whose whole answer is the greedy one.

        Feeding the right answer and comparing every next-token choice equals comparing the greedy generation.
        """
        right = dict.fromkeys(TASKS, 0)
        for start in range(0, len(self.probes), 20):
            group = self.probes[start : start + 20]
            encoded = [self.rows.encode(probe.segments()) for probe in group]
            longest = max(len(ids) for ids, _ in encoded)
            ids = torch.tensor([row + [self.rows.padding_id] * (longest - len(row)) for row, _ in encoded])
            marks = torch.tensor([row + [False] * (longest - len(row)) for _, row in encoded])[:, 1:]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                chosen = self.model.logits(self.model.hidden(ids[:, :-1])).argmax(-1)
            wrong = ((chosen != ids[:, 1:]) & marks).any(1)
            for probe, is_wrong in zip(group, wrong.tolist(), strict=True):
                right[probe.task] += not is_wrong
        self.shared.right[self.rank] = torch.tensor([float(right[task]) for task in TASKS])

    def reweight(self, accuracies: dict[str, float]) -> None:
        """Draw more of what is still wrong: between 0.35 and 1.65 times the ordinary weight."""
        scale = {task: 0.35 + 1.3 * (1 - accuracy) ** 0.5 for task, accuracy in accuracies.items()}
        self.rows.weights = {task: weight * scale.get(task, 1.0) for task, weight in WEIGHTS.items()}
        self.rows.row_weights = ROW_WEIGHTS | {
            "tools": ROW_WEIGHTS["tools"] * max(scale["tool_call"], scale["tool_answer"]),
            "think": ROW_WEIGHTS["think"] * scale["thinking"],
            "sums": ROW_WEIGHTS["sums"] * scale["arithmetic"] ** 2,
        }

    def check(self) -> dict[str, float]:
        """Score on validation together with the other processes, and reweight; optimiser states are saved."""
        self.count_right()
        self.shared.barrier.wait()
        accuracies = dict(zip(TASKS, (self.shared.right.sum(0) / NUM_VALIDATION).tolist(), strict=True))
        self.reweight(accuracies)
        torch.save([optimizer.state_dict() for optimizer in self.optimizers], self.state_path)
        self.shared.barrier.wait()
        return accuracies


def save(shared: Shared, path: Path) -> None:
    """Write weights and clock whole or not at all."""
    partial = path.with_suffix(".partial")
    state = {name: weight.clone() for name, weight in shared.model.state_dict().items()}
    torch.save({"model": state, "shape": asdict(shared.model.shape), "clock": shared.clock.clone()}, partial)
    partial.rename(path)


def follow(worker: Worker) -> None:
    """Every process but the first: step and check when the clock says so."""
    clock = worker.shared.clock
    while True:
        worker.step()
        worker.shared.barrier.wait()
        if clock[CLOCK_IS_CHECK_DUE]:
            worker.check()
        if clock[CLOCK_ELAPSED_S] >= 60 * worker.asked.minutes:
            return
        worker.shared.barrier.wait()


def lead(worker: Worker) -> None:
    """The first process: also keeps the clock, saves and reports."""
    shared, clock = worker.shared, worker.shared.clock
    losses: list[float] = []
    last_s = time.monotonic()
    checked_s = last_s - CHECK_EVERY_S + 60
    while True:
        worker.step()
        losses.append(shared.losses.mean().item())
        now_s = time.monotonic()
        clock[CLOCK_STEP] += 1
        clock[CLOCK_ELAPSED_S] += now_s - last_s
        is_over = bool(clock[CLOCK_ELAPSED_S] >= 60 * worker.asked.minutes)
        last_s, is_due = now_s, is_over or now_s - checked_s > CHECK_EVERY_S
        clock[CLOCK_IS_CHECK_DUE] = float(is_due)
        shared.barrier.wait()
        if is_due:
            checked_s = now_s
            save(shared, worker.asked.checkpoint)
            report(clock, losses, worker.check())
            losses = []
        if is_over:
            return
        shared.barrier.wait()


def report(clock: Tensor, losses: list[float], accuracies: dict[str, float]) -> None:
    """One line: how long, how much, how good."""
    scores = " ".join(f"{task} {accuracy:.2f}" for task, accuracy in accuracies.items())
    minutes, step = clock[CLOCK_ELAPSED_S] / 60, int(clock[CLOCK_STEP])
    print(f"{minutes:5.1f} min, step {step}, loss {sum(losses) / len(losses):.4f}: {scores}", flush=True)


def work(rank: int, shared: Shared, asked: argparse.Namespace) -> None:
    """Entry point of each process."""
    torch.set_num_threads(1)
    worker = Worker(rank, shared, asked)
    shared.barrier.wait()
    if rank == 0:
        lead(worker)
    else:
        follow(worker)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=85.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="some minutes of compiling, then faster steps")
    asked = parser.parse_args()
    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(str(asked.tokenizer))
    model = Folio(ModelShape(vocab_size=tokenizer.get_vocab_size()))
    clock = torch.zeros(3, dtype=torch.float64)
    if asked.checkpoint.exists():
        saved = torch.load(asked.checkpoint)
        model.load_state_dict(saved["model"])
        clock.copy_(saved["clock"])
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    gradients = torch.zeros(asked.processes, num_parameters)
    right, losses = torch.zeros(asked.processes, len(TASKS)), torch.zeros(asked.processes)
    for tensor in (gradients, clock, right, losses):
        tensor.share_memory_()
    context = multiprocessing.get_context("spawn")
    shared = Shared(model.share_memory(), gradients, clock, right, losses, context.Barrier(asked.processes))
    multiprocessing.spawn(work, args=(shared, asked), nprocs=asked.processes)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
