"""`serve_http` over a ScriptedEngine, as a process of its own, so that signals and exit codes can be seen.

Arguments: model folder, ServerConfig changes as JSON. Prints "ready" when announced. Loading lasts until the file
`load` appears in the folder named by LOAD_GATE; a file `fail` there makes it fail. Prompts choose what happens:
"die" kills the engine after a token, "wait" never ends, anything else is 30 tokens at a slow pace. Where the file
`stuck` lies in the folder, the engine's shutdown never returns, and the server's limit for its end is a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tests.api.server.scripted_engine import ScriptedEngine, engine_config, server_config

from quire.api.server import lifecycle, serve_http
from quire.base.errors import CheckpointError, ConfigError
from quire.base.messages import EngineRequest
from quire.engine.client import EngineState
from quire.text.tokenizer import Tokenizer


class GatedEngine(ScriptedEngine):
    """Loads when it is let."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._gate = Path(os.environ["LOAD_GATE"])
        self._is_stuck = (self._gate / "stuck").exists()
        if self._is_stuck:
            lifecycle.ENDING_LIMIT_S = 1.0

    async def connect(self) -> None:
        while not (self._gate / "load").exists():
            if (self._gate / "fail").exists():
                raise CheckpointError("model.safetensors is cut short")
            await asyncio.sleep(0.01)
        self.state = EngineState.READY

    async def shutdown(self) -> None:
        if self._is_stuck:
            time.sleep(60)
        await super().shutdown()


def main() -> int:
    folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
    config = engine_config(folder)
    tokenizer = Tokenizer.load(folder)

    def script(request: EngineRequest, _index: int) -> list[int]:
        return {"die": [5, -2], "wait": [5] * 200}.get(tokenizer.decode(request.prompt_token_ids), [5] * 30)

    engine = GatedEngine(script, config.card.eos_token_ids[0])
    engine.state = EngineState.LOADING
    engine.seconds_per_token = 0.02
    try:
        return serve_http(engine, config, server_config(**changes), lambda _s: say("ready"))
    except (ConfigError, CheckpointError) as error:
        say(f"refused: {error}")
        return 2
    finally:
        say(f"shutdowns: {engine.num_shutdowns}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
