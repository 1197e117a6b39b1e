"""Measures answers: stages, tokens per second, memory, collectives; and reports what it measured."""
