"""The engine process. The client runs it as `python -m quire.engine.process ADDRESS PARENT_PID`."""
