"""Threads of torch's operators sleep while they wait, unless the user chose otherwise."""

from __future__ import annotations

import subprocess
import sys

from quire.engine.client.threads import with_sleeping_threads


def test_the_policy_is_added_and_the_user_s_choice_stands():
    assert with_sleeping_threads({"A": "1"}) == {"A": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    assert with_sleeping_threads({"GOMP_SPINCOUNT": "5"}) == {"GOMP_SPINCOUNT": "5"}
    assert with_sleeping_threads({"OMP_WAIT_POLICY": "ACTIVE"}) == {"OMP_WAIT_POLICY": "ACTIVE"}


def test_a_process_that_imports_torch_later_has_the_policy():
    code = (
        "import os; from quire.engine.client.threads import let_threads_sleep;"
        "let_threads_sleep(); print(os.environ['OMP_WAIT_POLICY'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["PASSIVE"], done.stderr
