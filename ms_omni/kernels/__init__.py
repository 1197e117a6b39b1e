"""Operators for each device: picks the device and fills what MindSpore's CPU build lacks. Imports no MindSpore."""

from ms_omni.kernels.device import setup_device

__all__ = ["setup_device"]
