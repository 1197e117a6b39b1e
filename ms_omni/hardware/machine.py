"""Software and resources of a machine. A test may replace every source: files, commands, environment, packages."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from ms_omni.hardware.memory import meminfo_bytes

COMMAND_TIMEOUT_S = 30.0


def run_command(words: list[str]) -> str | None:
    """Standard output of a command; None when there is no such command, it fails or it hangs."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, errors="replace")
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def installed_version(package: str) -> str | None:
    """None where the package is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _can_load_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Machine:
    """A machine to examine. `root` is put before every absolute path."""

    root: Path = Path("/")
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    run: Callable[[list[str]], str | None] = run_command
    version_of: Callable[[str], str | None] = installed_version
    can_load: Callable[[str], bool] = _can_load_library
    free_disk: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
    python: str = platform.python_version()
    executable: str = sys.executable

    def path(self, absolute: str) -> Path:
        """`absolute` below `root`."""
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str) -> str:
        """Content of a text file, "" when it cannot be read."""
        try:
            return self.path(absolute).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def driver_version(self) -> str | None:
        """None where its version.info is not found, as in many containers."""
        return self._package_version("driver")

    def firmware_version(self) -> str | None:
        """None where its version.info is not found, as in most containers."""
        return self._package_version("firmware")

    def _package_version(self, name: str) -> str | None:
        """`Version=` of version.info, where /etc/ascend_install.info says the package was installed."""
        install_info = self.read("/etc/ascend_install.info")
        base = _value(install_info, f"{name.capitalize()}_Install_Path_Param") or "/usr/local/Ascend"
        return _value(self.read(f"{base}/{name}/version.info"), "Version")

    def cann_home(self) -> str | None:
        """Directory of the CANN toolkit: where the environment points, else a usual place that exists."""
        candidates = [self.environ.get("ASCEND_HOME_PATH"), self.environ.get("ASCEND_TOOLKIT_HOME")]
        candidates += ["/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann"]
        return next((home for home in candidates if home and self.path(home).is_dir()), None)

    def has_cann_environment(self) -> bool:
        """Whether this shell has sourced CANN's set_env.sh."""
        return bool(self.environ.get("ASCEND_HOME_PATH") or self.environ.get("ASCEND_TOOLKIT_HOME"))

    def cann_version(self, part: str) -> str | None:
        """Version of the CANN "toolkit" or of its operator "kernels" (the two packages of the supported table)."""
        home = self.cann_home()
        if home is None:
            return None
        pattern = "ascend_toolkit_install.info" if part == "toolkit" else "*_install.info"
        for file in sorted(self.path(home).glob(f"*-linux/{pattern}")):
            if part == "toolkit" or re.search("kernels|ops", file.name):
                version = _value(file.read_text(encoding="utf-8", errors="replace"), "version")
                if version:
                    return version
        key = "toolkit_running_version" if part == "toolkit" else "opp_kernel_running_version"
        # version.cfg: toolkit_running_version=[7.6.0.1.220:8.0.0] is [inner version:public version]
        entry = _value(self.read(f"{home}/version.cfg"), key)
        return entry.strip("[]").split(":")[-1] if entry else None

    def device_nodes(self) -> list[int]:
        """Numbers of /dev/davinci0, /dev/davinci1, ... (davinci_manager is not a card)."""
        names = (node.name for node in self.path("/dev").glob("davinci*"))
        return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"davinci(\d+)", name)))

    def free_memory_bytes(self) -> int | None:
        """What programs may still allocate; None where /proc does not say."""
        return meminfo_bytes("MemAvailable", self.root)


def _value(text: str, key: str) -> str | None:
    """Value of `key=value` in a text of such lines; keys differ in case between versions of the installers."""
    match = re.search(rf"^\s*{re.escape(key)}\s*=\s*(.*?)\s*$", text, re.MULTILINE | re.IGNORECASE)
    return match[1] or None if match else None
