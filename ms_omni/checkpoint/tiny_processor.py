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

# What the released template renders for plain conversations (no tools): no system message is invented, parts follow
# each other without separators, every message ends with a line feed.
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
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {%- if message.content is string -%}
        {{- message.content -}}
    {%- else -%}
        {%- for part in message.content -%}
            {{- render_part(part) -}}
        {%- endfor -%}
    {%- endif -%}
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
