"""The manifest of `batch`: JSON lines to checked conversations, with the number of the line in every error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ms_omni.errors import OmniError, OmniErrors, did_you_mean
from ms_omni.inputs.access import MediaAccess
from ms_omni.inputs.conversation import build_conversation, media_parts, validate_conversation, with_local_paths

MEDIA_KEYS = ("image", "audio", "video")
TURN_KEYS = ("system", "text", *MEDIA_KEYS)
OPTION_KEYS = ("use_audio_in_video", "speak", "speaker")
KEYS = ("id", "conversation", *TURN_KEYS, *OPTION_KEYS)
# The longest file name is 255 bytes almost everywhere; a temporary file's name is an id with 40 bytes around it.
MAX_ID_BYTES = 200
# Where everything is wrong, the first lines say why.
MAX_SHOWN_ERRORS = 20


@dataclass(frozen=True)
class Item:
    """One line: a conversation and how to answer it. `where` names the line in errors."""

    id: str
    conversation: list[dict[str, Any]]
    speak: bool
    speaker: str | None
    use_audio_in_video: bool
    where: str

    @property
    def digest(self) -> str:
        """Changes when something else is asked for under the same id."""
        asked = {key: value for key, value in asdict(self).items() if key not in ("id", "where")}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def read_manifest(
    path: Path, defaults: dict[str, Any], check: Callable[[Item], None] = lambda item: None
) -> tuple[Item, ...]:
    """The items in the order of the lines; empty lines are skipped.

    defaults: of the OPTION_KEYS that a line may set itself. A line without id gets its number, in six digits. A
    relative media path counts from the current directory and, where nothing is there, from the manifest's. Media are
    not opened. check: raises OmniError for what else is wrong with an item. Raises OmniError naming the line, or
    OmniErrors naming all that are wrong."""
    items: dict[str, Item] = {}
    errors: list[str] = []
    count = 0
    # not splitlines(): JSON strings may hold the line ends of Unicode
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        count += 1
        try:
            item = _read_line(line, number, path, defaults)
            if item.id in items:
                raise OmniError(f"{item.where}: the id {item.id!r} is that of another line; ids must differ")
            items[item.id] = item
            check(item)
        except OmniError as error:
            errors.append(str(error))
    if len(errors) == 1:
        raise OmniError(errors[0])
    if errors:
        raise OmniErrors([*errors[:MAX_SHOWN_ERRORS], _count_errors(path, len(errors), count)])
    if not items:
        raise OmniError(f"--manifest {path}: holds no conversation; expected a JSON object on each line")
    return tuple(items.values())


def _count_errors(path: Path, wrong: int, count: int) -> str:
    shown = f" (the first {MAX_SHOWN_ERRORS} are shown)" if wrong > MAX_SHOWN_ERRORS else ""
    return f"--manifest {path}: {wrong} of {count} lines are wrong{shown}; nothing was answered"


def missing_media(items: list[Item], access: MediaAccess) -> list[str]:
    """Of every item with a local medium that is refused, missing or empty, its line and the first such medium. Decoding
    all of them would take longer than some answers do: what is broken inside shows when its turn comes."""
    from ms_omni.inputs.source import open_source

    faults: dict[tuple[str, str], str] = {}

    def fault(kind: str, name: str) -> str:
        if (kind, name) not in faults:
            faults[kind, name] = ""
            try:
                open_source(name, kind, access)
            except OmniError as error:
                faults[kind, name] = str(error)
        return faults[kind, name]

    missing = []
    for item in items:
        names = (
            (kind, name)
            for kind, medium, _ in media_parts(item.conversation)
            for name in (medium if isinstance(medium, list) else [medium])
            if not name.startswith(("http://", "https://"))
        )
        if first := next(filter(None, (fault(kind, name) for kind, name in names)), ""):
            missing.append(f"{item.where}: {first}")
    return missing


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise OmniError(f"--manifest {path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise OmniError(f"--manifest {path}: not UTF-8 text (byte {error.start})") from error


def _read_line(line: str, number: int, path: Path, defaults: dict[str, Any]) -> Item:
    where = f"--manifest {path} line {number}"
    data = _parse(line, where)
    for key in data:
        if key not in KEYS:
            raise OmniError(f"{where}: unknown key {key!r}{did_you_mean(key, KEYS)}; allowed: {', '.join(KEYS)}")
    options = {key: data.get(key, defaults[key]) for key in OPTION_KEYS}
    for key, kind, wanted in (("use_audio_in_video", bool, "true or false"), ("speak", bool, "true or false"),
                              ("speaker", str, "a name")):  # fmt: skip
        if key in data and not isinstance(data[key], kind):
            raise OmniError(f"{where}: {key!r} is {json.dumps(data[key])}; expected {wanted}")
    conversation = [with_local_paths(message, path.parent) for message in _conversation(data, where)]
    return Item(_id(data, number, where), conversation, where=where, **options)


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise OmniError(f"{where}: not valid JSON (column {error.colno}: {error.msg})") from error
    except RecursionError as error:
        raise OmniError(f"{where}: nested too deeply") from error
    if not isinstance(data, dict):
        raise OmniError(f'{where}: expected an object such as {{"id": "a", "text": "Hello"}}')
    return data


def _id(data: dict[str, Any], number: int, where: str) -> str:
    """It becomes the name of files."""
    name = data.get("id", f"{number:06d}")
    wanted = f"expected a text of at most {MAX_ID_BYTES} bytes that can be a file name: no slash, no dot at its start"
    if not isinstance(name, str) or not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise OmniError(f"{where}: 'id' is {json.dumps(name)}; {wanted}")
    if len(name.encode()) > MAX_ID_BYTES:
        raise OmniError(f"{where}: 'id' has {len(name.encode())} bytes; {wanted}")
    return name


def _conversation(data: dict[str, Any], where: str) -> list[dict[str, Any]]:
    turn = [key for key in TURN_KEYS if key in data]
    if "conversation" in data:
        if turn:
            raise OmniError(f"{where}: 'conversation' and {turn[0]!r} exclude each other")
        return validate_conversation(data["conversation"], where)
    if not any(key != "system" for key in turn):
        raise OmniError(f"{where}: nothing to answer; expected 'conversation', or 'text', 'image', 'audio' or 'video'")
    for key in ("system", "text"):
        if key in data and not isinstance(data[key], str):
            raise OmniError(f"{where}: {key!r} is {json.dumps(data[key])}; expected a text")
    media = [_names(data.get(key, []), key, where) for key in MEDIA_KEYS]
    if not any(media) and "text" not in data:
        raise OmniError(f"{where}: nothing to answer; {turn[-1]!r} is an empty list")
    return build_conversation(data.get("system"), data.get("text"), *media)


def _names(value: Any, key: str, where: str) -> list[str]:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(name, str) and name for name in names):
        hint = "; whether to answer in speech is 'speak'" if isinstance(value, bool) else ""
        raise OmniError(f"{where}: {key!r} is {json.dumps(value)}; expected a path or URL, or a list of them{hint}")
    return names
