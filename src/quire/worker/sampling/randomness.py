"""Counter-based randomness: a draw is a pure function of (seed, position, sample index).

Nothing is carried from draw to draw, so batching, preemption, replay and another process cannot change a
stream. Construction, on unsigned 64-bit words, with G the golden-ratio increment of splitmix64 (Steele,
Lea, Flood 2014) and mix its finaliser:

    word = mix(seed + G)
    word = mix(word + (position + 1) * G)
    word = mix(word + (sample_index + 1) * G)
    word = mix(word + G), only where the token of the first draw may not be and another is drawn
    draw = the upper 53 bits of word

For a fixed seed and sample index mix is a bijection of the position, so no position repeats another's word.
"""

from __future__ import annotations

DRAW_BITS = 53  # as many as a float64 holds: draw / 2**53 is a uniform number in [0, 1)

_INCREMENT = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


def draw_bits(seed: int, position: int, sample_index: int, *, again: bool = False) -> int:
    """A uniform integer in [0, 2**53) for one draw. Negative seeds count modulo 2**64."""
    word = _mix(seed + _INCREMENT)
    word = _mix(word + (position + 1) * _INCREMENT)
    word = _mix(word + (sample_index + 1) * _INCREMENT)
    if again:
        word = _mix(word + _INCREMENT)
    return word >> (64 - DRAW_BITS)


def _mix(word: int) -> int:
    word &= _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)
