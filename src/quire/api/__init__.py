"""What the world calls: command line, HTTP server, offline LLM."""
