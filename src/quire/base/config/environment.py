"""The environment reader: VLLM_* and QUIRE_* variables, and warnings about those nobody declared."""

from __future__ import annotations

import re
from collections.abc import Mapping

from quire.base.config.asked import Given, means_unset, read_value
from quire.base.config.table import Table, nearest

# what Kubernetes sets for a service called vllm or quire: VLLM_SERVICE_HOST, VLLM_PORT_8000_TCP_ADDR, VLLM_PORT=tcp://…
_SERVICE_VARIABLE = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def read_environment(environ: Mapping[str, str], table: Table) -> dict[str, Given]:
    """Values of declared variables. An empty variable counts as not set."""
    layer: dict[str, Given] = {}
    for setting in table.all:
        for variable in setting.environment_names:
            raw = environ.get(variable, "")
            if not raw or means_unset(setting, raw) or _SERVICE_URL.match(raw):
                continue
            words = raw.split(",") if setting.many and not setting.is_secret and raw[0] != "[" else raw
            layer[setting.dest] = Given(read_value(setting, words, variable), "environment", variable)
            break  # names come strongest first
    return layer


def unknown_variables(environ: Mapping[str, str], table: Table) -> list[str]:
    """One sentence for each VLLM_* or QUIRE_* variable that no setting reads."""
    sentences = []
    for variable, value in environ.items():
        if not variable.startswith(("VLLM_", "QUIRE_")):
            continue
        if _SERVICE_URL.match(value):
            service = variable.partition("_")[0].lower()
            sentences.append(
                f"{variable}={value} was set by Kubernetes for a service called {service}, it is not a setting; "
                "rename the service or set enableServiceLinks: false"
            )
        elif variable not in table.by_variable and not _SERVICE_VARIABLE.search(variable):
            close = nearest(variable, table.by_variable, 1)[0]
            sentences.append(f"{variable} is not a variable Quire reads; the nearest is {close}")
    return sentences
