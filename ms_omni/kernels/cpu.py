"""Fills the mint operators that MindSpore's CPU build lacks, so that code written for Ascend runs on a CPU.

MindSpore 2.7.1 raises "kernel ... unregistered" for them, gives wrong answers, or is far slower than numpy on small
tensors. `cpu_table.FILLS` lists those that mindone's Qwen3-Omni and this package call. For inference in eager mode: no
gradient flows through most fills. Under ms.jit, Tensor methods stay MindSpore's own, and so do the functions whose
originals compile.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ms_omni.kernels.cpu_table import Fill

_PATCHED_PACKAGES = ("mindspore", "mindone", "ms_omni")
_installed = False


def install_cpu_kernels() -> None:
    """Replace what lacks a CPU kernel. A second call changes nothing.

    Call it after ms.set_device("CPU"). Modules of MindSpore and mindone that already hold an original under a name of
    their own get the replacement too, so mindone may have been imported before; default arguments, closures and
    attributes of existing cells keep the original.

    Raises RuntimeError on another device: nothing is touched there.
    """
    global _installed
    import mindspore as ms

    target = ms.get_context("device_target")
    if target != "CPU":
        raise RuntimeError(f"install_cpu_kernels: the device target is {target}; the fills are for CPU only")
    if not _installed:
        from ms_omni.kernels.cpu_table import FILLS

        _replace_everywhere(FILLS)
        _installed = True


def _replace_everywhere(fills: tuple[Fill, ...]) -> None:
    from ms_omni.kernels.mindspore_internals import convert_object_map  # what ms.jit compiles in a function's place

    replacements: dict[int, tuple[Any, Callable[..., Any]]] = {}
    for fill in fills:
        if fill.owner == "mindspore.Tensor":
            setattr(import_module("mindspore").Tensor, fill.name, fill.replacement)
        else:
            original = getattr(import_module(fill.owner), fill.name)
            replacements[id(original)] = (original, fill.replacement)
            if fill.compile_original:
                convert_object_map[fill.replacement] = original
    for module_name, module in list(sys.modules.items()):
        if module is None or module_name.split(".")[0] not in _PATCHED_PACKAGES:
            continue
        if module_name.startswith("ms_omni.kernels"):  # the fills call the originals that they wrap
            continue
        for name, value in list(vars(module).items()):
            known = replacements.get(id(value))
            if known is not None and known[0] is value:
                setattr(module, name, known[1])
