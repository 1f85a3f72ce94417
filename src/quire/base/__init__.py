"""What everyone speaks: messages, configuration, hardware facts, observation, errors. Never imports torch."""
