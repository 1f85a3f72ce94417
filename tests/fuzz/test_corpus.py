"""The corpus again, and some new inputs on each target: no exception, no 5xx, nothing that takes a second."""

from __future__ import annotations

import pytest

from tests.fuzz.bodies import BODIES, HttpBody
from tests.fuzz.campaign import Campaign
from tests.fuzz.targets import TARGETS

NEW_INPUTS = 500


@pytest.mark.parametrize("name", TARGETS)
def test_what_once_failed_and_some_new_inputs(name: str) -> None:
    campaign = Campaign(TARGETS[name])
    campaign.replay()
    campaign.explore(NEW_INPUTS, seed=0)
    assert not campaign.findings, campaign.findings


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)
def test_bodies_that_are_mutated_are_good_ones(body: HttpBody) -> None:
    """Or nothing behind the first check would ever be tried."""
    statuses = [body.answer(seed)[0] for seed in body.seeds()]
    assert statuses.count(200) * 2 > len(statuses), statuses


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TARGETS)
def test_many_new_inputs(name: str) -> None:
    campaign = Campaign(TARGETS[name])
    campaign.explore(100_000, seed=1)
    assert not campaign.findings, campaign.findings
