"""OpenAI's protocol over an engine."""
