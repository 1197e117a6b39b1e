"""The names that MindSpore's Ascend plugin wants from CANN, read from the installed wheel itself."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYSTEM = ("c.so.6", "m.so.6", "stdc++.so.6", "gcc_s.so.1", "gomp.so.1", "pthread.so.0", "dl.so.2", "rt.so.1")
# loaded by dlopen, so that no library lists them as needed
OPENED = {"libacl_tdt_channel.so", "libascend_hal.so", "libdummy_tls.so"}
# never loaded here: image decoding by the card, kernels for the card's own CPUs
LEFT_OUT = {"libdvpp_utils.so", "libmindspore_cpu_kernels.so"}
INTERFACE = re.compile(r"(acl|aclrt|aclop|aclmdl|aclprof|acltdt|acldump|Hccl|Hcom)[A-Z]\w*", re.A)
POOLS = ("AbstractDynamicMemPool", "DynamicMemPoolBestFit")


@dataclass(frozen=True)
class WheelNames:
    """operators: names of the aclnn interface. functions: C functions looked up by name. undefined: symbols that the
    plugin's libraries leave undefined and neither the wheel nor the system defines. libraries: the shared libraries
    that these are in. pool_thunks: mangled names of the thunks of the memory pools' virtual functions."""

    operators: list[str]
    functions: list[str]
    undefined: list[str]
    libraries: list[str]
    pool_thunks: list[str]


def read_wheel(mindspore: Path) -> WheelNames:
    """mindspore: the package's folder."""
    lib = mindspore / "lib"
    plugin = lib / "plugin"
    main = sorted(plugin.glob("libmindspore_*ascend.so*")) + sorted((plugin / "ascend").glob("*.so"))
    kernels = sorted((plugin / "ascend/ms_kernels_internal").glob("*/lib/*.so"))
    users = [path for path in main + kernels if path.name not in LEFT_OUT]
    text = set().union(*map(_strings, main))
    operators = {s.removesuffix("GetWorkspaceSize") for s in text if re.fullmatch(r"aclnn[A-Z]\w*", s, re.A)}
    undefined = _undefined(users, sorted(lib.glob("*.so*")))
    # operators that the wheel links rather than looks up
    operators |= {name.removesuffix("GetWorkspaceSize") for name in undefined if name.startswith("aclnn")}
    shipped = {path.name for path in lib.rglob("*.so*")}
    return WheelNames(
        sorted(operators - {"aclnnInit", "aclnnFinalize"}),
        sorted(s for s in text if INTERFACE.fullmatch(s) and not s.startswith("aclnn")),
        sorted(name for name in undefined if not name.startswith("aclnn")),
        sorted(set().union(*map(_needed, main + users)) - shipped | OPENED),
        sorted(_pool_thunks(lib / "libmindspore_memory_pool.so")),
    )


def _undefined(users: list[Path], others: list[Path]) -> set[str]:
    defined = {name for path in others + users for _, name in symbols(path, "--defined-only")}
    system = [ctypes.CDLL("lib" + name) for name in SYSTEM]
    wanted = {name for path in users for kind, name in symbols(path, "--undefined-only") if kind == "U"} - defined
    return {n for n in wanted if not n.startswith(("Py", "_Py")) and not any(hasattr(s, n) for s in system)}


def _pool_thunks(library: Path) -> set[str]:
    functions = ("AllocTensorMemE", "FreeTensorMemE", "FreePartTensorMemsE", "AllocContinuousTensorMemE")
    pattern = re.compile(rf"_ZTv0_n\d+_N9mindspore6device\d+({'|'.join(POOLS)})\d+(Do)?({'|'.join(functions)}).*")
    names = {name for _, name in symbols(library, "--defined-only") if pattern.fullmatch(name)}
    return {name for name in names if "DoFreePart" not in name}


def symbols(path: Path, which: str) -> list[tuple[str, str]]:
    """(kind, name) of the dynamic symbols."""
    lines = subprocess.run(["nm", "-D", which, str(path)], capture_output=True, text=True).stdout.splitlines()
    return [(line.split()[-2], line.split()[-1].split("@")[0]) for line in lines]


def _strings(path: Path) -> set[str]:
    return {s.decode() for s in re.findall(rb"[\x20-\x7e]{4,}", path.read_bytes())}


def _needed(path: Path) -> set[str]:
    out = subprocess.run(["readelf", "-d", str(path)], capture_output=True, text=True).stdout
    return set(re.findall(r"NEEDED.*\[(lib\w+\.so)\]", out))
