"""The manners of the house, held by machine: doors, sizes, names, and what importing a door costs."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import quire

SOURCE = Path(quire.__file__).parent
WINGS = ("api", "text", "engine", "worker", "model", "base")
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(
    f"quire.{wing}.{room.name}"
    for wing in WINGS
    for room in (SOURCE / wing).iterdir()
    if (room / "__init__.py").exists()
)
MAX_EXPORTS = 17  # a dozen, give or take
MAX_EXPORTS_OF = {
    "quire.model.ops": 34,
    "quire.base.messages": 24,
    "quire.model.layers": 23,
    "quire.base.config": 21,
}  # doors that are lists: of ops, of parts
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 60
FORBIDDEN_NAMES = {"utils.py", "util.py", "common.py", "misc.py", "helpers.py", "helper.py", "core_utils.py"}
FORBIDDEN_CLASSES = re.compile(r"(Manager|Helper|Utils|Mixin|Base)$")
# doors a process without tensors opens
TORCH_FREE = (
    "quire",
    "quire.api.cli",
    "quire.api.bench",
    "quire.api.startup",
    "quire.api.server",
    "quire.api.serverless",
    "quire.text.session",
    "quire.text.tokenizer",
    "quire.text.template",
    "quire.text.parsers",
    "quire.engine.client",
    "quire.engine.scheduler",
    "quire.engine.kv",
    "quire.model.checkpoint",
    "quire.base.config",
    "quire.base.hardware",
)


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def module_of(path: Path) -> str:
    parts = ("quire", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    """The room a module lies in; None for single modules of a wing, which are their own door."""
    return next((room for room in ROOMS if module == room or module.startswith(room + ".")), None)


def imported(tree: ast.AST, module: str) -> Iterator[tuple[str, int]]:
    """Every quire module an import names, lazy and typing-only ones too, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("quire."):
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import in line {node.lineno}"
            if node.module and node.module.startswith("quire"):
                for alias in node.names:
                    deeper = f"{node.module}.{alias.name}"
                    # `from quire.base.config import kinds` names a module inside the room, unless the door shows it
                    is_inside = is_module(deeper) and alias.name not in exports(node.module)
                    yield (deeper if is_inside else node.module), node.lineno


@functools.cache
def exports(door: str) -> frozenset[str]:
    """What a door's `__all__` names; nothing where there is none."""
    path = SOURCE.joinpath(*door.split(".")[1:]) / "__init__.py"
    if not path.exists():
        return frozenset()
    for statement in ast.parse(path.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(statement.value))
    return frozenset()


def is_module(name: str) -> bool:
    path = SOURCE.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path, ast.parse(path.read_text("utf-8"), path.name)


def test_other_rooms_are_entered_by_their_door():
    wrong = [
        f"{name_of(path)}:{line} reaches into {target}"
        for path, tree in trees()
        for target, line in imported(tree, module_of(path))
        if (room := room_of(target)) and target != room and room != room_of(module_of(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_rule_about_doors_finds_a_planted_deep_import():
    tree = ast.parse("def lazily():\n    from quire.base.config.memory import plan_memory\n")
    assert list(imported(tree, "quire.api.x")) == [("quire.base.config.memory", 2)]
    tree = ast.parse("from quire.base.config import kinds, resolve\n")
    assert [target for target, _ in imported(tree, "quire.api.x")] == [
        "quire.base.config.kinds",
        "quire.base.config",
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_names_a_dozen_things_at_most_and_holds_no_logic(room):
    tree = ast.parse((SOURCE.joinpath(*room.split(".")[1:]) / "__init__.py").read_text("utf-8"))
    assert ast.get_docstring(tree), f"{room} does not say what it is"
    for statement in tree.body[1:]:
        is_plain = isinstance(statement, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign))
        assert is_plain, f"{room}: line {statement.lineno} is logic"
        if isinstance(statement, ast.Assign):
            assert [target.id for target in statement.targets if isinstance(target, ast.Name)] == ["__all__"]
            assert len(ast.literal_eval(statement.value)) <= MAX_EXPORTS_OF.get(room, MAX_EXPORTS), (
                f"{room} exports too much"
            )


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_imports_nothing(wing):
    tree = ast.parse((SOURCE / wing / "__init__.py").read_text("utf-8"))
    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


def test_files_say_what_they_are_and_keep_to_their_size():
    wrong = []
    for path, tree in trees():
        lines = len(path.read_text("utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            wrong.append(f"{name_of(path)} has {lines} lines")
        if not ast.get_docstring(tree):
            wrong.append(f"{name_of(path)} does not open with what it is")
        if path.name in FORBIDDEN_NAMES:
            wrong.append(f"{name_of(path)} is named after nothing")
    assert not wrong, "\n".join(wrong)


def test_functions_keep_to_their_size_and_classes_to_their_names():
    wrong = []
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    wrong.append(f"{name_of(path)}: {node.name} has {lines} lines")
            elif isinstance(node, ast.ClassDef) and FORBIDDEN_CLASSES.search(node.name):
                wrong.append(f"{name_of(path)}: class {node.name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("door", TORCH_FREE)
def test_opening_a_door_without_tensors_loads_no_torch(door):
    code = f"import sys, {door}\nsys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{door} loads torch\n{result.stderr}"
