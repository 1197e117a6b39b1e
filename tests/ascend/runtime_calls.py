"""CANN's C interface by ctypes, for tests of the emulator itself: no MindSpore is needed, and faults can be planted.

The functions are in the process (launch/emulated.sh preloads them). Statuses are returned, not raised.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from ctypes import byref, c_char_p, c_int64, c_size_t, c_uint64, c_void_p

import numpy as np

C = ctypes.CDLL(None)
TO_DEVICE, TO_HOST, ON_DEVICE = 1, 2, 3
ACL_DTYPES = {"float32": 0, "float16": 1, "int8": 2, "int32": 3, "int64": 9, "float64": 11, "bool": 12}
C.aclGetRecentErrMsg.restype = c_char_p
C.aclCreateTensor.restype = c_void_p
C.aclCreateScalar.restype = c_void_p


def message() -> str:
    """Of the last failure; CANN hands it out once."""
    return C.aclGetRecentErrMsg().decode()


def malloc(num_bytes: int) -> int:
    """An address in device memory. The status must be 0."""
    address = c_void_p()
    status = C.aclrtMalloc(byref(address), c_size_t(num_bytes), 0)
    assert status == 0, message()
    return address.value


def free(address: int) -> int:
    return C.aclrtFree(c_void_p(address))


def new_stream() -> c_void_p:
    stream = c_void_p()
    assert C.aclrtCreateStream(byref(stream)) == 0
    return stream


def new_event() -> c_void_p:
    event = c_void_p()
    assert C.aclrtCreateEvent(byref(event)) == 0
    return event


def copy(to: int, source: int, num_bytes: int, direction: int, stream: c_void_p | None = None) -> int:
    """aclrtMemcpyAsync on a stream, else aclrtMemcpy."""
    sizes = (c_void_p(to), c_size_t(num_bytes), c_void_p(source), c_size_t(num_bytes), direction)
    return C.aclrtMemcpyAsync(*sizes, stream) if stream else C.aclrtMemcpy(*sizes)


def to_device(values: np.ndarray, address: int | None = None) -> int:
    """Copies into new memory, or to an address."""
    address = malloc(values.nbytes) if address is None else address
    assert copy(address, values.ctypes.data, values.nbytes, TO_DEVICE) == 0, message()
    return address


def to_host(address: int, shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    """What is in device memory now; waits for no stream."""
    values = np.empty(shape, dtype)
    assert copy(values.ctypes.data, address, values.nbytes, TO_HOST) == 0, message()
    return values


def page_locked(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    address = c_void_p()
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    assert C.aclrtMallocHost(byref(address), c_size_t(num_bytes)) == 0
    return np.frombuffer((ctypes.c_char * num_bytes).from_address(address.value), dtype).reshape(shape)


def tensor(address: int, shape: tuple[int, ...], dtype: str = "float32", offset: int = 0) -> c_void_p:
    dims = (c_int64 * len(shape))(*shape)
    steps = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    strides = (c_int64 * len(shape))(*steps)
    storage = (c_int64 * 1)(int(np.prod(shape)) + offset)
    view = dims, c_uint64(len(shape)), ACL_DTYPES[dtype], strides, c_int64(offset), 2
    return c_void_p(C.aclCreateTensor(*view, storage, c_uint64(1), c_void_p(address)))


def scalar(value: float) -> c_void_p:
    return c_void_p(C.aclCreateScalar(byref(ctypes.c_float(value)), 0))


class Prepared:
    """What aclnnXGetWorkspaceSize returned."""

    def __init__(self, name: str, *arguments: object) -> None:
        self.name, size, self.executor = name, c_uint64(0), c_void_p()
        entry = getattr(C, name + "GetWorkspaceSize")
        self.status = entry(*arguments, byref(size), byref(self.executor))
        self.workspace_bytes = size.value

    def launch(self, stream: c_void_p | None = None, workspace: int = 0, workspace_bytes: int | None = None) -> int:
        given = self.workspace_bytes if workspace_bytes is None else workspace_bytes
        return getattr(C, self.name)(c_void_p(workspace), c_uint64(given), self.executor, stream)


def call(name: str, *arguments: object, stream: c_void_p | None = None) -> int:
    """Both parts of an operator that needs no workspace. Returns the first status that is not 0."""
    prepared = Prepared(name, *arguments)
    return prepared.status or prepared.launch(stream)


def negate(source: c_void_p, out: c_void_p, stream: c_void_p | None = None) -> int:
    return call("aclnnNeg", source, out, stream=stream)


def in_process(code: str, **settings: str) -> str:
    """Output of a process of its own, which has other settings; this module is `acl` there."""
    code = "import numpy as np, runtime_calls as acl\nfrom runtime_calls import C\n" + code
    paths = os.path.dirname(__file__) + ":" + os.environ["PYTHONPATH"]
    environment = {**os.environ, **settings, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
