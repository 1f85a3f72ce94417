"""The number stream is pinned for good: recorded streams must replay."""

from quire.worker.sampling.randomness import DRAW_BITS, draw_bits

GOLDEN_POSITIONS = [1249383295688599, 1655881628553949, 407019655415286]
GOLDEN_SAMPLES = [5388507356783786, 87441212641265, 6496219346417429]
GOLDEN_NEGATIVE = 8867032479744132


def test_draws_are_what_they_always_were():
    assert [draw_bits(0, position, 0) for position in range(3)] == GOLDEN_POSITIONS
    assert [draw_bits(1234, 17, sample) for sample in range(3)] == GOLDEN_SAMPLES
    assert draw_bits(-1, 0, 0) == draw_bits(2**64 - 1, 0, 0) == GOLDEN_NEGATIVE


def test_neighbouring_counters_share_nothing():
    draws = {draw_bits(s, p, i) for s in range(-5, 5) for p in range(50) for i in range(8)}
    assert len(draws) == 10 * 50 * 8


def test_every_bit_of_every_counter_is_even():
    # Along each counter alone, each of the 53 bits is set about half of the time (6 sigma of 4096 throws).
    for stream in (
        [draw_bits(value, 3, 0) for value in range(4096)],
        [draw_bits(3, value, 0) for value in range(4096)],
        [draw_bits(3, 3, value) for value in range(4096)],
    ):
        for bit in range(DRAW_BITS):
            assert abs(sum(draw >> bit & 1 for draw in stream) - 2048) < 6 * 32
