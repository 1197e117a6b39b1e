"""What the document must not tell: directories, names of users and hosts, and variables that are not listed here."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Mapping

# All but the last part of an absolute path, which may name a user
_DIRECTORIES = re.compile(r"(?<![\w.\-/])(?:~|/[\w.+\-@]+)(?:/[\w.+\-@]+)*/")
# Settings of MindSpore, CANN and HCCL; none of them holds a secret
VARIABLES = (
    "ASCEND_RT_VISIBLE_DEVICES", "ASCEND_LAUNCH_BLOCKING", "ASCEND_GLOBAL_LOG_LEVEL", "ASCEND_WORK_MODE",
    "CANN_VERSION", "HCCL_ALGO", "HCCL_BUFFSIZE", "HCCL_CONNECT_TIMEOUT", "HCCL_DETERMINISTIC", "HCCL_EXEC_TIMEOUT",
    "HCCL_IF_BASE_PORT", "HCCL_INTRA_PCIE_ENABLE", "HCCL_INTRA_ROCE_ENABLE", "HCCL_OP_EXPANSION_MODE",
    "HCCL_WHITELIST_DISABLE", "LCCL_DETERMINISTIC", "MS_ALLOC_CONF", "MS_DEV_RUNTIME_CONF",
    "MS_DISABLE_INTERNAL_KERNELS_LIST", "MS_ENABLE_INTERNAL_KERNELS", "MS_ENABLE_LCCL", "MS_ENABLE_TRACE_MEMORY",
    "MS_INTERNAL_DISABLE_CUSTOM_KERNEL_LIST", "MS_INTERNAL_ENABLE_CUSTOM_KERNEL_LIST", "MS_NODE_TIMEOUT",
    "MS_OMNI_GROUP_SIZE", "MS_WORKER_NUM", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "EMULATED_SOC",
    "EMULATED_CARDS", "EMULATED_CORES", "EMULATED_MEMORY_GB", "EMULATED_LATE",
)  # fmt: skip


def redact(text: str) -> str:
    """`text` with only the last part of every path, and without the names of this user and this host."""
    text = _DIRECTORIES.sub("", text)
    for name in _own_names():
        text = re.sub(rf"\b{re.escape(name)}\b", "…", text)
    return text


def variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Those of VARIABLES that are set."""
    return {name: redact(environ[name]) for name in VARIABLES if name in environ}


def _own_names() -> list[str]:
    """Longest first. root and localhost are nobody's."""
    names = {socket.gethostname(), socket.gethostname().split(".")[0], os.path.basename(os.path.expanduser("~"))}
    with contextlib.suppress(KeyError, OSError):  # a user id without a name
        names.add(getpass.getuser())
    return sorted((name for name in names - {"root", "localhost"} if len(name) > 2), key=len, reverse=True)
