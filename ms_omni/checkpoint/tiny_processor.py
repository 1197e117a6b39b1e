"""Processor files of the tiny checkpoints: how pictures, sound and chat are prepared, as the released model does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# The values of the released preprocessor_config.json of Qwen3-Omni-30B-A3B: one file for the picture processor (16 x 16
# patches, two frames each, merged 2 x 2) and the Whisper features (128 mel bins every 10 ms, at most 300 s). The
# released checkpoints have no video_preprocessor_config.json: the video processor reads this file too.
PREPROCESSOR_CONFIG: dict[str, Any] = {
    "chunk_length": 300,
    "dither": 0.0,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 128,
    "hop_length": 160,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "Qwen2VLImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "max_pixels": 12845056,
    "merge_size": 2,
    "min_pixels": 3136,
    "n_fft": 400,
    "n_samples": 4800000,
    "nb_max_frames": 30000,
    "padding_side": "right",
    "padding_value": 0.0,
    "patch_size": 16,
    "processor_class": "Qwen3OmniMoeProcessor",
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "temporal_patch_size": 2,
}

# What the released template renders for plain conversations: no system message is invented, parts follow each other
# without separators, every message ends with a line feed. Tools are offered in a system message, and calls and results
# have the marks of the released one; the words around them are ours.
CHAT_TEMPLATE = """\
{%- macro render_part(part) -%}
    {%- if part.type == 'image' or 'image' in part or 'image_url' in part -%}
        {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
    {%- elif part.type == 'audio' or 'audio' in part or 'audio_url' in part -%}
        {{- '<|audio_start|><|audio_pad|><|audio_end|>' -}}
    {%- elif part.type == 'video' or 'video' in part or 'video_url' in part -%}
        {{- '<|vision_start|><|video_pad|><|vision_end|>' -}}
    {%- elif 'text' in part -%}
        {{- part.text -}}
    {%- endif -%}
{%- endmacro -%}
{%- macro render_content(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- else -%}
        {%- for part in content -%}
            {{- render_part(part) -}}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- set system_first = messages[0].role == 'system' -%}
{%- if tools -%}
    {{- '<|im_start|>system\\n' -}}
    {%- if system_first -%}
        {{- render_content(messages[0].content) + '\\n\\n' -}}
    {%- endif -%}
    {{- 'Functions that can be called:\\n<tools>' -}}
    {%- for tool in tools -%}
        {{- '\\n' + tool | tojson -}}
    {%- endfor -%}
    {{- '\\n</tools>\\nA call is an object with name and arguments within <tool_call></tool_call>.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in (messages[1:] if tools and system_first else messages) -%}
    {{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\\n' -}}
    {%- if message.role == 'tool' -%}
        {{- '<tool_response>\\n' + render_content(message.content) + '\\n</tool_response>' -}}
    {%- else -%}
        {{- render_content(message.content) -}}
    {%- endif -%}
    {%- for call in message.tool_calls or [] -%}
        {{- '\\n' if message.content or not loop.first -}}
        {{- '<tool_call>\\n' + {'name': call.function.name, 'arguments': call.function.arguments} | tojson -}}
        {{- '\\n</tool_call>' -}}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def write_processor(directory: Path) -> None:
    """Writes preprocessor_config.json and chat_template.jinja."""
    text = json.dumps(PREPROCESSOR_CONFIG, indent=2) + "\n"
    (directory / "preprocessor_config.json").write_text(text, encoding="utf-8")
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
