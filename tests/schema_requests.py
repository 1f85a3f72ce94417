"""Tries every route of a running server with requests that schemathesis makes of its OpenAPI document."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest

# A request that fits the document may still be refused, by a rule that a schema cannot state: that is no fault.
MODES = ("positive", "negative")
LIMIT_S = 30


def try_routes(
    url: str, *, mode: str, num_examples: int, key: str = "", skip: tuple[str, ...] = ()
) -> Counter[str]:
    """Number of requests by route. Fails with the request that was answered otherwise than the document says."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=headers)
    counts: Counter[str] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in skip:
            continue
        strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))

        @settings(
            max_examples=num_examples,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=strategy)
        def try_one(case: Any) -> None:
            counts[f"{case.operation.method.upper()} {case.operation.path}"] += 1
            case.call_and_validate(checks=checks, headers=headers, timeout=LIMIT_S)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the library and its own, not of the server
            try:
                try_one()
            except Exception as error:
                if type(error).__name__ not in ("Unsatisfiable", "NoTestsRun", "SkipTest"):
                    raise
    return counts
