"""Rows: declarations on one line, for the many settings that differ in little."""

from __future__ import annotations

from typing import Any

from quire.base.config.kinds import Kind, json_fields
from quire.base.config.setting import Setting
from quire.base.config.states import States


class Rows:
    """Declares settings of one group; keywords are Setting's."""

    def __init__(self, group: str) -> None:
        self._group = group

    def option(self, name: str, kind: Kind, default: Any, states: States, doc: str, **more: Any) -> Setting:
        """An option, with a QUIRE_* variable of its own."""
        return Setting(
            name=name, group=self._group, kind=kind, default=default, states=states, doc=doc, **more
        )

    def variable(
        self, variable: str, kind: Kind, default: Any, states: States, doc: str, **more: Any
    ) -> Setting:
        """A variable without an option; its name as a setting follows from the variable's."""
        name = variable.removeprefix("VLLM_").lower().replace("_", "-")
        facts = {"name": name, "environment": (variable,), **more}
        return Setting(
            group=self._group, kind=kind, default=default, states=states, doc=doc, has_flag=False, **facts
        )

    def json(self, name: str, config: str, states: States, doc: str, **more: Any) -> Setting:
        """An option whose value is a JSON object of known fields."""
        from quire.base.config.groups.subfields import FIELDS, NESTED

        kind = json_fields(config, FIELDS[config], NESTED)
        return self.option(name, kind, None, states, doc, fields=FIELDS[config], **more)
