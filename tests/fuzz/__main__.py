"""`python -m tests.fuzz [TARGET …] [--inputs N] [--seed S]`: N new inputs on each target; what fails is kept."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.campaign import Campaign
from tests.fuzz.targets import TARGETS

BATCH = 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", choices=[*TARGETS, []], help=", ".join(TARGETS)
    )
    parser.add_argument("--inputs", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    num_findings = 0
    for name in asked.targets or TARGETS:
        campaign = Campaign(TARGETS[name])
        started_s = time.monotonic()
        campaign.replay()
        for batch in range(max(1, asked.inputs // BATCH)):
            campaign.explore(min(BATCH, asked.inputs), seed=asked.seed * 1_000_003 + batch)
            rate = campaign.num_inputs / (time.monotonic() - started_s)
            sys.stderr.write(f"\r{name:12} {campaign.num_inputs:>9} inputs  {rate:>7.0f}/s  ")
            sys.stderr.write(f"slowest {campaign.slowest_s:.2f} s  {len(campaign.findings)} findings ")
        sys.stderr.write("\n")
        campaign.keep()
        for what, data in campaign.findings.items():
            sys.stdout.write(f"{name}: {what}\n    {data[:200]!r}\n")
        num_findings += len(campaign.findings)
    return 1 if num_findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
