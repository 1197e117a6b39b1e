"""OpenAI's protocol for an engine."""
