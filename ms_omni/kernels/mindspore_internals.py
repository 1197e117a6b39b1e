"""What is used of MindSpore's graph compiler. MindSpore 2.9 moved it, and warns of its old place."""

from __future__ import annotations

try:
    from mindspore.graph._parse.resources import convert_object_map
    from mindspore.graph.api import _run_in_jit, ms_compile_cache
except ImportError:  # before 2.9
    from mindspore._extends.parse.resources import convert_object_map
    from mindspore.common.api import _run_in_jit, ms_compile_cache

__all__ = ["_run_in_jit", "convert_object_map", "ms_compile_cache"]
