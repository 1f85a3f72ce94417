"""`quire completion SHELL`: what makes a shell complete commands, options and choices, from the settings table."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from quire.base.config import SETTINGS

SHELLS = ("bash", "zsh", "fish")
TAKES_SETTINGS = ("serve", "run-batch", "worker")  # commands that take every setting as an option
HELP = f"""usage: quire completion {{{",".join(SHELLS)}}}

Print what completes quire's command line in a shell:
  bash   eval "$(quire completion bash)"          (in ~/.bashrc)
  zsh    eval "$(quire completion zsh)"           (in ~/.zshrc, after compinit)
  fish   quire completion fish | source           (in ~/.config/fish/config.fish)
"""


def completion(words: list[str], commands: Iterable[str]) -> int:
    """Writes the script of one shell; 2 for another word."""
    if words[:1] in ([], ["-h"], ["--help"]):
        print(HELP, end="")
        return 0 if words else 2
    if words[0] not in SHELLS:
        print(
            f"quire completion: {words[0]!r} is not a shell known here; give {', '.join(SHELLS)}",
            file=sys.stderr,
        )
        return 2
    print({"bash": _bash, "zsh": _zsh, "fish": _fish}[words[0]](sorted(commands)), end="")
    return 0


def _options() -> dict[str, tuple[str, ...]]:
    """Every option with the values it chooses among; those of switches and free texts are none."""
    found: dict[str, tuple[str, ...]] = {}
    for setting in SETTINGS.all:
        if setting.has_flag and not setting.removed:
            found[setting.flag] = tuple(setting.kind.choices)
            found |= dict.fromkeys((name for name in setting.negative_flags if name.startswith("--no-")), ())
    return found


def _bash(commands: list[str]) -> str:
    options = _options()
    cases = "".join(
        f"    {flag}) COMPREPLY=($(compgen -W '{' '.join(choices)}' -- \"$word\")); return ;;\n"
        for flag, choices in options.items()
        if choices
    )
    return f"""_quire() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W '{" ".join(commands)}' -- "$word")); return; fi
  case "${{COMP_WORDS[1]}}" in {"|".join(TAKES_SETTINGS)}) ;; *) return ;; esac
  case "$before" in
{cases}  esac
  case "$word" in -*) COMPREPLY=($(compgen -W '{" ".join(options)}' -- "$word")) ;; esac
}}
complete -o default -F _quire quire
"""


def _zsh(commands: list[str]) -> str:
    """zsh runs bash's functions."""
    return "autoload -U +X bashcompinit && bashcompinit\n" + _bash(commands)


def _fish(commands: list[str]) -> str:
    lines = [f"complete -c quire -n __fish_use_subcommand -f -a '{' '.join(commands)}'"]
    seen = f"__fish_seen_subcommand_from {' '.join(TAKES_SETTINGS)}"
    for flag, choices in _options().items():
        values = f" -x -a '{' '.join(choices)}'" if choices else ""
        lines.append(f"complete -c quire -n '{seen}' -l {flag.removeprefix('--')}{values}")
    return "\n".join(lines) + "\n"
