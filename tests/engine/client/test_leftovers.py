"""Folders of killed processes are swept, those of living ones and everybody else's stay."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from quire.engine.client.leftovers import LOCK, claim_folder, sweep_folders
from quire.engine.client.link import EngineLink


def age(folder: str | Path) -> None:
    os.utime(Path(folder, LOCK), (0, 0))


def test_a_killed_owners_folder_is_swept_and_a_living_ones_is_not(tmp_path):
    code = "import sys, os, signal; from quire.engine.client.leftovers import claim_folder;"
    code += "print(claim_folder(sys.argv[1])[0], flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    abandoned = killed.stdout.strip()
    held, lock = claim_folder(str(tmp_path))
    young, young_lock = claim_folder(str(tmp_path))
    os.close(young_lock)  # abandoned, but so young that its owner may be about to lock it
    (tmp_path / "quire-notes").mkdir()  # no lock in it: not ours
    for folder in (abandoned, held):
        assert Path(folder).is_dir()
        age(folder)
    assert sweep_folders(str(tmp_path)) == [Path(abandoned)]
    assert {path.name for path in tmp_path.iterdir()} == {Path(held).name, Path(young).name, "quire-notes"}
    os.close(lock)
    assert sweep_folders(str(tmp_path)) == [Path(held)]


def test_whoever_starts_sweeps(tmp_path):
    abandoned, lock = claim_folder(str(tmp_path))
    os.close(lock)
    age(abandoned)
    link = EngineLink(str(tmp_path))
    link.spawn()
    assert not Path(abandoned).exists()
    link.reap()
    assert list(tmp_path.iterdir()) == []
