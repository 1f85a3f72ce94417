"""Fills a network's parameters from weight files, one tensor at a time.

A parameter made of one tensor in the wanted dtype starts as a view of the mapped file and costs no memory of its
own; any other is allocated once and its parts are copied into it. `place` may then pack it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from quire.base.errors import CheckpointError
from quire.model.checkpoint import TensorEntry
from quire.model.loading.place import place, place_experts
from quire.model.loading.weight_files import WeightFiles
from quire.model.weight_map import Source, WeightMap


def fill_from_files(
    network: nn.Module,
    weights: WeightMap,
    files: WeightFiles,
    dtype: torch.dtype,
    report: Callable[[int, int], None],
    *,
    scheme: str = "",
    copies: bool = False,
    placed: Callable[[str], None] = lambda name: None,
) -> None:
    """`scheme` is the one that `place` quantises by. With `copies` no parameter stays a view of a file: the files
    may go away afterwards. `placed` hears the name of each parameter when it is in its layer.

    Raises CheckpointError before reading anything if tensors and parameters do not match one to one.
    """
    known = {weights.known_as(name): entry for name, entry in files.entries.items()}
    parameters = dict(network.named_parameters())
    _check_names(parameters, weights, known)
    for name, parameter in parameters.items():
        _check_shape(name, parameter, weights.sources[name], known)
    total_bytes = sum(known[name].size_bytes for source in weights.sources.values() for name in source.names)
    done_bytes = 0
    with files.opened() as read_entry:

        def read(name: str) -> Tensor:
            tensor = read_entry(known[name])
            return tensor.clone() if copies else tensor

        for name in parameters:
            source = weights.sources[name]
            if source.experts:
                place_experts(network, name, _each_expert(source, read, dtype), dtype, scheme)
            else:
                place(network, name, _join(source, read, dtype), scheme)
            placed(name)
            done_bytes += sum(known[part].size_bytes for part in source.names)
            report(done_bytes, total_bytes)


def _join(source: Source, read: Callable[[str], Tensor], dtype: torch.dtype) -> Tensor:
    if source.is_as_stored:
        return read(source.names[0]).to(dtype)
    parts = [read(name).T if source.transposed else read(name) for name in source.names]
    if source.swapped:
        parts = [part.roll(len(part) // 2, 0) for part in parts]
    if source.paired_heads:
        parts = [_unpaired(part, heads) for part, heads in zip(parts, source.paired_heads, strict=True)]
    joined = torch.empty(sum(part.shape[0] for part in parts), *parts[0].shape[1:], dtype=dtype)
    start = 0
    for part in parts:
        joined[start : start + part.shape[0]].copy_(part)
        start += part.shape[0]
    return joined


def _each_expert(source: Source, read: Callable[[str], Tensor], dtype: torch.dtype) -> Iterator[Tensor]:
    length = len(source.names) // source.experts
    for start in range(0, len(source.names), length):
        yield _join(Source(source.names[start : start + length]), read, dtype)


def _unpaired(part: Tensor, heads: int) -> Tensor:
    """Of each head the even rows, then the odd ones; `heads` 0 for a tensor that stays as it is."""
    if not heads:
        return part
    return part.view(heads, -1, 2, *part.shape[1:]).transpose(1, 2).reshape(part.shape)


def _check_names(
    parameters: dict[str, nn.Parameter], weights: WeightMap, known: dict[str, TensorEntry]
) -> None:
    unmapped = set(parameters) ^ set(weights.sources)
    assert not unmapped, f"weight map and network disagree about {sorted(unmapped)[:3]}"
    wanted = {name: parameter for parameter, source in weights.sources.items() for name in source.names}
    missing = [name for name in wanted if name not in known]
    if missing:
        folder = next(iter(known.values())).file.parent
        raise CheckpointError(
            f"{folder}: tensor {missing[0]!r} is missing from the weight files ({len(missing)} in all); the "
            f"files do not belong to this config.json or the download is incomplete."
        )
    unread = [entry for name, entry in known.items() if name not in wanted and not weights.is_ignored(name)]
    if unread:
        raise CheckpointError(
            f"{unread[0].file}: tensor {unread[0].name!r} has no place in this model ({len(unread)} in all); the "
            f"files do not belong to this config.json, or the model has a part Quire does not know."
        )


def _check_shape(name: str, parameter: Tensor, source: Source, known: dict[str, TensorEntry]) -> None:
    shapes = [known[part].shape[::-1] if source.transposed else known[part].shape for part in source.names]
    runs = max(source.experts, 1)
    length = len(shapes) // runs
    asked = tuple(parameter.shape[1:] if source.experts else parameter.shape)
    for start in range(0, len(shapes), length):
        run = shapes[start : start + length]
        same = len({shape[1:] for shape in run}) == 1
        joined = (sum(shape[0] for shape in run), *run[0][1:]) if all(run) and same else None
        if joined != asked:
            first = known[source.names[start]]
            names = source.names[start : start + length]
            given = " + ".join(str(list(known[part].shape)) for part in names)
            raise CheckpointError(
                f"{first.file}: tensor {first.name!r} has shape {given}, config.json asks for {list(asked)}"
                f"{' in all' if length > 1 else ''} ({math.prod(asked)} numbers for {name}); the files "
                f"do not belong to this config.json."
            )
