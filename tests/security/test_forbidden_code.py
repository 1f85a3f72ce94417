"""What may not stand in the source: code made from bytes, unsafe loaders, shells, unkeyed hashes (T-01, T-05 to T-07,
T-32)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import quire

SOURCE = Path(quire.__file__).parent
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
FORBIDDEN_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "makes code of text",
    "hash": "is predictable or differs between processes; prefix keys are SHA-256",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "torch.load": "unpickles; weights_only=True restricts it to tensors, in one place",
    "torch.jit.load": "loads code",
    "numpy.load": "may unpickle",
    "np.load": "may unpickle",
    "builtins.eval": "runs text as code",
    "builtins.exec": "runs text as code",
    "yaml.load": "makes objects; yaml.safe_load does not",
    "yaml.load_all": "makes objects; yaml.safe_load_all does not",
    "yaml.full_load": "makes objects",
    "yaml.full_load_all": "makes objects",
    "yaml.unsafe_load": "makes objects",
    "yaml.unsafe_load_all": "makes objects",
    "tempfile.mktemp": "leaves a gap in which another user takes the name",
    "jinja2.Template": "is not sandboxed",
    "jinja2.Environment": "is not sandboxed",
    "Environment": "is not sandboxed",
    "SandboxedEnvironment": "lets templates change what they are given",
}
# (file, call): why it is right there
ALLOWED = {
    ("model/loading/weight_files.py", "torch.load"): "with weights_only=True, and only under --load-format pt"
}


def findings(source: str) -> list[tuple[int, str, str]]:
    """(line, what, why) of everything forbidden in a source text."""
    found: list[tuple[int, str, str]] = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found += [
            (node.lineno, name, "makes objects of bytes")
            for name in names
            if name.split(".")[0] in FORBIDDEN_MODULES
        ]
        if isinstance(node, ast.ImportFrom):  # a function called by its bare name would pass
            imported = [f"{node.module}.{alias.name}" for alias in node.names if alias.name.islower()]
            found += [(node.lineno, one, FORBIDDEN_CALLS[one]) for one in imported if one in FORBIDDEN_CALLS]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN_CALLS:
                found.append((node.lineno, called, FORBIDDEN_CALLS[called]))
            found += [
                (node.lineno, f"{called}({keyword.arg}={ast.unparse(keyword.value)})", "is not safe")
                for keyword in node.keywords
                if (keyword.arg, ast.unparse(keyword.value))
                in {
                    ("shell", "True"),
                    ("allow_pickle", "True"),
                    ("weights_only", "False"),
                    ("trust_remote_code", "True"),
                }
            ]
    return found


def test_nothing_forbidden_stands_in_the_source() -> None:
    """T-01, T-05, T-06, T-07, T-10, T-32: no advisory about unpickling, `eval`, shells, remote code, bare Jinja or
    weak hashes can come true where none of it is called."""
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}: {what} {why}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, what, why in findings(path.read_text("utf-8"))
        if (path.relative_to(SOURCE).as_posix(), what) not in ALLOWED
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "def lazily():\n    from cloudpickle import loads",
        "x = eval('1')",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "from os import path, system as run",
        "import yaml\nyaml.full_load('x')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "f(trust_remote_code=True)",
        "key = hash((1, 2))",
    ],
)
def test_the_rule_finds_what_is_planted(planted: str) -> None:
    assert findings(planted)
