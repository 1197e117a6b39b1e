"""Reads the file of `batch`: JSON lines of one of two formats as checked items, the line's number in every error."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from ms_omni.cli.batch.item import Item, LineFormat
from ms_omni.cli.media_checks import local_media
from ms_omni.errors import OmniError, OmniErrors
from ms_omni.files import numbered_lines, parse_object
from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.conversation import with_local_paths

# Of a request of OpenAI's API; our own lines have none of them.
REQUEST_KEYS = ("custom_id", "method", "url", "body")
# Where everything is wrong, the first lines say why.
MAX_SHOWN_ERRORS = 20


def read_items(path: Path, conversations: LineFormat, requests: LineFormat) -> tuple[Item, ...]:
    """The items in the order of the lines; empty lines are skipped.

    conversations, requests: read lines of our format and of OpenAI's; the first line decides which all are. A relative
    media path counts from the current directory and, where nothing is there, from the file's. Media are not opened.
    Raises OmniError naming the line, or OmniErrors naming all that are wrong."""
    items: dict[str, Item] = {}
    errors: list[str] = []
    count, first = 0, None
    for number, line in numbered_lines(path, f"--manifest {path}"):
        count += 1
        where = f"--manifest {path} line {number}"
        try:
            data = parse_object(line, where, '{"id": "a", "text": "Hello"}')
            is_request = any(key in data for key in REQUEST_KEYS)
            first = first or (number, is_request)
            if is_request != first[1]:
                what = "is a request" if is_request else "is no request"
                raise OmniError(f"{where}: {what} of OpenAI's API, unlike line {first[0]}; a file holds one form")
            item = (requests if is_request else conversations).item(data, number, where)
            if item.id in items:
                raise OmniError(f"{where}: the id {item.id!r} is that of another line; ids must differ")
            local = [with_local_paths(message, path.parent) for message in item.conversation]
            items[item.id] = replace(item, conversation=local)
        except OmniError as error:
            errors.append(str(error))
    if len(errors) == 1:
        raise OmniError(errors[0])
    if errors:
        raise OmniErrors([*errors[:MAX_SHOWN_ERRORS], _count_errors(path, len(errors), count)])
    if not items:
        raise OmniError(f"--manifest {path}: holds no conversation; expected a JSON object on each line")
    return tuple(items.values())


def missing_media(items: list[Item], access: MediaAccess) -> list[str]:
    """A line for every item with a local medium that is refused, missing or empty; it names the first such medium.
    Media are not decoded, which can take longer than answering: what is broken inside shows when the item is
    answered."""
    from ms_omni.inputs.source import open_source

    @cache
    def fault(kind: str, name: str) -> str:
        try:
            open_source(name, kind, access)
        except OmniError as error:
            return str(error)
        return ""

    def first_fault(item: Item) -> str:
        return next(filter(None, (fault(*medium) for medium in local_media(item.conversation))), "")

    return [f"{item.where}: {found}" for item in items if (found := first_fault(item))]


def _count_errors(path: Path, wrong: int, count: int) -> str:
    shown = f" (the first {MAX_SHOWN_ERRORS} are shown)" if wrong > MAX_SHOWN_ERRORS else ""
    return f"--manifest {path}: {wrong} of {count} lines are wrong{shown}; nothing was answered"
