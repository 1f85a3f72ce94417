"""The weight map: for every parameter of a network, the checkpoint tensors it is made of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OfExperts:
    """The tensors stacked in the weight of each of `count` experts; the names' second `{}` is the expert's number."""

    count: int
    names: tuple[str, ...]

    def spelled(self, layer: int) -> tuple[str, ...]:
        return tuple(name.format(layer, expert) for expert in range(self.count) for name in self.names)


# parameter → its tensor, or the tensors stacked in it
Parts = dict[str, str | tuple[str, ...] | OfExperts]


@dataclass(frozen=True)
class Source:
    """How one parameter is filled: checkpoint tensors stacked along dimension 0, in this order.

    `transposed` turns each of them first (GPT-2 keeps its projections as (in, out)). `swapped` puts the second half
    of its rows before the first. `paired_heads` has a number for each tensor: of its heads, in each of which the even
    rows go before the odd ones; 0 leaves the tensor as it is. With `experts` the names are as many runs of one
    length, one for each expert: each run is stacked by itself, the stacks along a dimension before the others.
    """

    names: tuple[str, ...]
    transposed: bool = False
    swapped: bool = False
    paired_heads: tuple[int, ...] = ()
    experts: int = 0

    @property
    def is_as_stored(self) -> bool:
        """One tensor, taken as it is."""
        changes = self.transposed or self.swapped or self.paired_heads or self.experts
        return len(self.names) == 1 and not changes


@dataclass(frozen=True)
class WeightMap:
    """`sources` maps parameter name → Source. A checkpoint name is compared after `renames` (pattern,
    replacement) were applied; names that match `ignored` need no reader (buffers, tied copies)."""

    sources: dict[str, Source]
    ignored: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    _ignored: list[re.Pattern[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ignored", [re.compile(pattern) for pattern in self.ignored])

    def known_as(self, name: str) -> str:
        """The checkpoint's name in the words of this map."""
        for pattern, replacement in self.renames:
            name = re.sub(pattern, replacement, name, count=1)
        return name

    def is_ignored(self, name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in self._ignored)


def weight_map(
    outside: dict[str, str],
    per_layer: Parts,
    num_layers: int,
    *,
    transposed: tuple[str, ...] = (),
    swapped: tuple[str, ...] = (),
    paired_heads: dict[str, tuple[int, ...]] | None = None,
    ignored: tuple[str, ...] = (),
    renames: tuple[tuple[str, str], ...] = (),
) -> WeightMap:
    """Spells out the map. `outside` is parameter → tensor; in `per_layer` both sides hold `{}` for the layer's
    number and a tuple of tensors is stacked; `transposed`, `swapped` and `paired_heads` name keys of `per_layer`."""
    sources = {parameter: Source((name,)) for parameter, name in outside.items()}
    for layer in range(num_layers):
        for parameter, names in per_layer.items():
            if isinstance(names, OfExperts):
                sources[parameter.format(layer)] = Source(names.spelled(layer), experts=names.count)
                continue
            parts = (names,) if isinstance(names, str) else names
            spelled = tuple(name.format(layer) for name in parts)
            sources[parameter.format(layer)] = Source(
                spelled,
                transposed=parameter in transposed,
                swapped=parameter in swapped,
                paired_heads=(paired_heads or {}).get(parameter, ()),
            )
    return WeightMap(sources, ignored, renames)
