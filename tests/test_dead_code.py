"""Nothing in the package is there that nobody uses: vulture finds no name without a use, but for those listed here."""

from pathlib import Path

import vulture

ROOT = Path(__file__).parents[1]
# Why vulture sees no use -> names
KNOWN = {
    "Python calls them": ["__getattr__", "__context__"],
    "libraries call or read them": [
        "argument_default", "argument_name", "bit_rate", "check_argument_for_proper_class", "create_module",
        "model_config", "pix_fmt", "readable", "readinto", "should_exit", "sock", "stream_output", "thread_type",
        "first_chunk", "_check_granularities", "_as_list",
    ],
    "MindSpore or mindone calls them, or gives them": [
        "conv1d", "conv3d", "masked_fill_", "scatter_", "stable", "output_size", "padding_idx", "norm_type",
        "scale_grad_by_freq", "mindspore_dtype", "left_context_size", "_deepstack_process", "visual_pos_masks",
    ],
    "an import that has effects": ["torchvision"],
    "metrics of `eval` register themselves": ["Accuracy", "Iou", "Cer", "Bleu", "Chrf"],
    "limits that are found by their name": [
        "max_image_pixels", "max_video_pixels", "max_samples", "max_decoded_bytes", "max_video_packets",
        "max_index_entries",
    ],
    "fields of profile.json": ["schema_name", "schema_version"],
    "fields of OpenAI's requests, taken or refused by their schema": [
        "chunking_strategy", "include_obfuscation", "continuous_usage_stats", "parallel_tool_calls", "logprobs",
        "top_logprobs", "presence_penalty", "frequency_penalty", "min_p", "logit_bias", "safety_identifier",
        "prompt_cache_key", "service_tier",
    ],
}  # fmt: skip


def test_nothing_is_unused():
    scanner = vulture.Vulture()
    scanner.scavenge([ROOT / name for name in ("ms_omni", "tests", "examples", "docs", "launch")])
    package = ROOT / "ms_omni"
    unused = {item.name: item for item in scanner.get_unused_code(60) if package in Path(item.filename).parents}
    known = {name for names in KNOWN.values() for name in names}
    assert [item.get_report() for name, item in unused.items() if name not in known] == []
    assert known - set(unused) == set(), "used now: take them from the list"
