"""Pieces of English sentences that several kinds of conversation share."""

from __future__ import annotations

from scenes import Thing

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")


def joined(items: list[str]) -> str:
    """a, b and c"""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def plural(name: str) -> str:
    return name + ("es" if name.endswith("s") else "s")


def there_are(number: int, name: str) -> str:
    """There is one circle. There are two circles. There are no circles."""
    return f"There is {NUMBERS[number]} {name}." if number == 1 else f"There are {NUMBERS[number]} {plural(name)}."


def at(where: str) -> str:
    if where == "middle":
        return "in the middle"
    return f"on the {where}" if where in ("left", "right") else f"at the {where}"


def moves(thing: Thing) -> str:
    if not thing.direction:
        return "stays"
    return f"moves {thing.direction}" if thing.direction in ("up", "down") else f"moves to the {thing.direction}"
