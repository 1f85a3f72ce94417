"""Fuzzing inside the process: random and mutated inputs against every reader of bytes that others wrote.

`targets` says what is fuzzed and what may come out; `mutate` makes inputs of good ones; `corpus/` keeps every input
that once failed, which the default suite replays with some thousands of new ones. For more:

    python -m tests.fuzz [TARGET …] [--inputs 1000000] [--seed 1]
"""
