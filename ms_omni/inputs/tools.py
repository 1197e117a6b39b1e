"""Checks tools: the functions that the model may call, and messages with such calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ms_omni.errors import OmniError

# Arguments of the chat template that users may not set
_OWN_ARGUMENTS = ("messages", "tools", "documents", "chat_template", "add_generation_prompt", "continue_final_message",
                  "return_assistant_tokens_mask", "conversations")  # fmt: skip


def check_tools(tools: Any, where: str = "tools") -> list[dict[str, Any]]:
    """Returns `tools` if they are a list of functions in the form of OpenAI's API and of chat templates: {"type":
    "function", "function": {"name", "description", "parameters"}}, parameters a JSON schema. Raises OmniError naming
    `where`."""
    if not isinstance(tools, list):
        raise OmniError(f"{where}: expected a list of tools, got {type(tools).__name__}")
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or tool.get("type") != "function":
            raise OmniError(f'{where}: tool {index}: expected {{"type": "function", "function": {{"name": ...}}}}')
        if not isinstance(function.get("name"), str) or not function["name"]:
            raise OmniError(f"{where}: tool {index}: its function has no 'name'")
        if not isinstance(function.get("parameters", {}), dict):
            raise OmniError(f"{where}: tool {index}: 'parameters' must be a JSON schema, an object")
    return tools


def check_template_options(options: Any, where: str = "chat_template_kwargs") -> Mapping[str, Any]:
    """Further variables of a chat template, such as enable_thinking. Raises OmniError for those that are not the
    user's to set."""
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise OmniError(f"{where}: expected an object with the names of variables")
    for name in _OWN_ARGUMENTS:
        if name in options:
            raise OmniError(f"{where}: {name!r} cannot be set; expected variables of the checkpoint's chat template")
    return options


def with_checked_calls(message: dict[str, Any], where: str) -> dict[str, Any]:
    """An assistant's message whose `tool_calls` have arguments as objects, which chat templates write down as JSON;
    its content may be missing or null. Raises OmniError naming `where`."""
    calls = message["tool_calls"]
    if message.get("role") != "assistant":
        raise OmniError(f"{where}: 'tool_calls' belong to an assistant's message")
    if not isinstance(calls, list) or not calls:
        raise OmniError(f"{where}: 'tool_calls' must be a list of calls")
    checked = [_checked_call(call, f"{where}, tool call {index}") for index, call in enumerate(calls)]
    content = message.get("content")
    return {**message, "content": "" if content is None else content, "tool_calls": checked}


def _checked_call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise OmniError(f'{where}: expected {{"type": "function", "function": {{"name": ..., "arguments": ...}}}}')
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError) as error:
            raise OmniError(f"{where}: 'arguments' are not valid JSON ({error})") from error
    if not isinstance(arguments, dict):
        raise OmniError(f"{where}: 'arguments' must be an object, or one as JSON text")
    return {**call, "function": {"name": function["name"], "arguments": arguments}}
