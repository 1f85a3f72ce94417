"""Between text and tokens: tokenizers, chat templates and the session that turns requests into streams."""
