"""Functions that an answer may call: their JSON schemas, and calls checked against them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ms_omni.answer_parts import Part
from ms_omni.errors import OmniError, did_you_mean
from ms_omni.files import read_json
from ms_omni.inputs.tools import check_tools

_LEFT = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)


def load_functions(path: str) -> list[dict[str, Any]]:
    """Of the JSON file of `--tools`. Raises OmniError naming the flag and the file."""
    where = f"--tools {path}"
    return check_schemas(read_json(path, where), where)


def check_schemas(tools: Any, where: str = "tools") -> list[dict[str, Any]]:
    """`tools`, when they are at least one function (`check_tools`) with unique names, and parameters that are a JSON
    schema of an object. Raises OmniError naming `where`."""
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    names = [tool["function"]["name"] for tool in check_tools(tools, where)]
    if not names:
        raise OmniError(f"{where}: an empty list; expected at least one function")
    for index, tool in enumerate(tools):
        name = names[index]
        if name in names[:index]:
            raise OmniError(f"{where}: tool {index}: {name!r} is the name of another tool; names must differ")
        schema = tool["function"].get("parameters", {})
        try:
            validator_for(schema, default=Draft202012Validator).check_schema(schema)
        except SchemaError as error:
            raise OmniError(
                f"{where}: tool {index}: 'parameters' of {name!r} is no JSON schema: {_message(error)}"
            ) from error
        if schema.get("type", "object") != "object":
            raise OmniError(f"{where}: tool {index}: 'parameters' of {name!r} must be the schema of an object")
    return tools


def read_calls(parts: Sequence[Part], tools: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The calls in an answer's parts, in order: {"name", "arguments"}, with "error" if the function is unknown or its
    arguments do not fit; {"raw", "error"} for text that is marked as a call and is not one."""
    calls: list[dict[str, Any]] = []
    for part in parts:
        if part.kind == "call":
            arguments = json.loads(part.text, parse_constant=str)  # NaN, which JSON does not have, becomes text
            error = _error(part.name, arguments, tools)
            calls.append({"name": part.name, "arguments": arguments, **({"error": error} if error else {})})
        elif part.kind == "content":
            error = "no JSON object with name and arguments"
            calls += [{"raw": left.strip(), "error": error} for left in _LEFT.findall(part.text)]
    return calls


def _error(name: str, arguments: dict[str, Any], tools: Sequence[dict[str, Any]]) -> str | None:
    """What is wrong with a call, in one line."""
    from jsonschema.exceptions import best_match
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    if name not in schemas:
        return f"unknown function {name!r}{did_you_mean(name, schemas)}; offered: {', '.join(schemas)}"
    kind = validator_for(schemas[name], default=Draft202012Validator)
    try:
        # An empty registry: references of a schema are not fetched
        error = best_match(kind(schemas[name], registry=Registry()).iter_errors(arguments))
    except (Unresolvable, RecursionError) as error:
        return f"arguments could not be checked: {' '.join(str(error).split())[:200] or type(error).__name__}"
    return None if error is None else f"arguments: {_message(error)}"


def _message(error: Any) -> str:
    """A ValidationError or SchemaError in one line, with where it is."""
    place = "".join(f"[{json.dumps(key)}]" for key in error.absolute_path)
    message = " ".join(str(error.message).split())
    return f"{place + ': ' if place else ''}{message[:200]}"
