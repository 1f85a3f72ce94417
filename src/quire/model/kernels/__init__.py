"""Providers of ops: one package per backend, one file per op. The first backend that can run an op here gives it."""

BACKENDS: tuple[str, ...] = ()  # in order of preference; the torch reference of each op comes last, always
