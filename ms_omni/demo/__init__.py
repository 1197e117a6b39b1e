"""A web page for a server with OpenAI's protocol. Imports neither MindSpore nor the engine."""
