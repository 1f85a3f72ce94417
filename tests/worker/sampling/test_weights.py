"""Whole-number weights: the sampler's distribution, and exp's promise to be the same wherever it is computed."""

import torch

from quire.worker.sampling.randomness import draw_bits
from quire.worker.sampling.weights import ONE, draw_tokens, scaled_logits, whole_weights


def test_draws_follow_the_softmax():
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0, -torch.inf, 1.2, -4.0, 2.0]])
    temperature = 0.9
    weights = whole_weights(scaled_logits(logits, torch.tensor([2.0]), torch.tensor([temperature])))
    count = 20_000
    tokens = draw_tokens(weights, [[draw_bits(99, position, 0) for position in range(count)]], None)[0]
    expected = (logits[0].double() / temperature).softmax(0) * count
    seen = torch.bincount(torch.tensor(tokens), minlength=8).double()
    assert seen[4] == 0
    real = expected > 0
    chi_square = ((seen - expected)[real] ** 2 / expected[real]).sum().item()
    assert chi_square < 22.46  # the 0.1 % point of 6 degrees of freedom


def test_the_ends_of_the_unit_interval_draw_the_first_and_last_tokens_with_weight():
    weights = torch.tensor([[0, ONE, 0, 3, ONE, 0]])
    assert draw_tokens(weights, [[0, 2**53 - 1]], None) == [[1, 4]]
    assert draw_tokens(torch.tensor([[5, 0], [0, 5]]), [[1], [2, 3]], None) == [[0], [1, 1]]


def test_the_likeliest_token_weighs_one_and_the_unlikely_nothing():
    logits = torch.tensor([[1.0, -26.0, -27.5, -torch.inf, 1.0]])
    weights = whole_weights(scaled_logits(logits, torch.tensor([1.0]), torch.tensor([1.0])))[0].tolist()
    assert weights == [ONE, 2, 0, 0, ONE]


def test_exp_is_the_same_at_every_place_and_with_every_number_of_threads():
    row = torch.randn(2049, generator=torch.Generator().manual_seed(0)) * 8 - 20
    alone = torch.stack([value.exp() for value in row])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for offset in range(17):
                shifted = torch.zeros(120_000)
                shifted[offset : offset + 2049] = row
                assert torch.equal(shifted.exp()[offset : offset + 2049], alone)
                assert torch.equal(shifted[offset : offset + 2049].exp(), alone)
    finally:
        torch.set_num_threads(before)
