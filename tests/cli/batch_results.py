"""Reads what a batch has left in its directory."""

import json


def results(directory):
    """The documents of results.jsonl in `directory`/out."""
    with open(directory / "out" / "results.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
