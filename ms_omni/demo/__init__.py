"""A page in the browser that talks to a server of OpenAI's protocol. Imports neither MindSpore nor the engine."""
