"""The cards that can be emulated, by the name that CANN gives a chip (aclrtGetSocName)."""

from __future__ import annotations

import os

DEFAULT = "Ascend910B2"


def soc() -> str:
    """EMULATED_SOC."""
    return os.environ.get("EMULATED_SOC") or DEFAULT


def series(name: str | None = None) -> str:
    """A2 for Ascend910B*, A3 for Ascend910_93*: what CANN's documents call the products."""
    return "A3" if (name or soc()).startswith("Ascend910_93") else "A2"
