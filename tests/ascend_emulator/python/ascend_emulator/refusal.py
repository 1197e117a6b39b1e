"""How an emulated operator refuses a call: CANN's status, the limit that was broken, and the document stating it."""

from __future__ import annotations

NULL_POINTER = 161001  # ACLNN_ERR_PARAM_NULLPTR
INVALID_PARAMETER = 161002  # ACLNN_ERR_PARAM_INVALID
RUNTIME_ERROR = 361001  # ACLNN_ERR_RUNTIME_ERROR
INNER_ERROR = 561000  # ACLNN_ERR_INNER
TILING_ERROR = 561002  # ACLNN_ERR_INNER_TILING_ERROR
NOT_EMULATED = 561003  # ACLNN_ERR_INNER_FIND_KERNEL_ERROR


class Refused(Exception):
    """A call that CANN would not take."""

    def __init__(self, message: str, status: int = INVALID_PARAMETER) -> None:
        super().__init__(message)
        self.status = status


def require(holds: object, message: str, status: int = INVALID_PARAMETER) -> None:
    """Raises Refused unless `holds`. message: what was given and what is allowed."""
    if not holds:
        raise Refused(message, status)
