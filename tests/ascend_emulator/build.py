"""Builds the emulator's libraries from the installed MindSpore, and prints the folder that they are in.

    python tests/ascend_emulator/build.py

Needs g++ and binutils, and an interpreter that has MindSpore 2.7.1 for x86-64 (which is not imported). The folder is
under EMULATED_HOME (default: ms_omni/ascend_emulator of the user's cache); its name is a digest of the sources and of
the wheel's version, so that nothing is built twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "src"
MINDSPORE = "2.7.1"
# what MindSpore is told of CANN; its checks want this form
CANN = "8.3.0"
KERNELS = "lib/plugin/ascend/ms_kernels_internal/internal_kernel"
# MindSpore's plugin and CANN are compiled with the old ABI of std::string
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-Wall", "-D_GLIBCXX_USE_CXX11_ABI=0"]
OWN_LIBRARY = "kernel.cc"  # derives from a class that is only there once MindSpore's kernels are loaded


class CannotBuild(Exception):
    """One line that says what to do."""


def main() -> int:
    try:
        print(build())
    except CannotBuild as reason:
        print(f"Ascend emulator: {reason}", file=sys.stderr)
        return 1
    return 0


def build() -> Path:
    """The folder of the libraries, built if it is not there. Two processes may call this at once."""
    mindspore, version = find_mindspore()
    home = cache()
    folder = home / digest(version)
    if (folder / "cann/latest/lib64/libascendcl.so").exists():
        return folder
    if not shutil.which("g++") or not shutil.which("nm"):
        raise CannotBuild("needs g++ and binutils to build: install them (Debian: apt install g++ binutils)")
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            print("Building the Ascend emulator (half a minute, once) ...", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=home, prefix="building_") as temporary:
                made = Path(temporary) / "made"
                make(mindspore, made)
                made.rename(folder)
    return folder


def cache() -> Path:
    if os.environ.get("EMULATED_HOME"):
        return Path(os.environ["EMULATED_HOME"]).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ms_omni/ascend_emulator"


def find_mindspore() -> tuple[Path, str]:
    """Folder and version, without importing it. Raises CannotBuild for what the emulator is not made for."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise CannotBuild(f"is for x86-64 Linux, this is {platform.machine()} {sys.platform}")
    found = importlib.util.find_spec("mindspore")
    if found is None:
        raise CannotBuild(
            f"no MindSpore in {sys.executable}: install the package (pip install -e .) or name an environment with VENV"
        )
    version = importlib.metadata.version("mindspore")
    if version != MINDSPORE:
        raise CannotBuild(
            f"is made for MindSpore {MINDSPORE}, {sys.executable} has {version}: install mindspore=={MINDSPORE}"
        )
    folder = Path(found.submodule_search_locations[0])
    if not (folder / "lib/plugin/libmindspore_ascend.so.2").exists():
        raise CannotBuild(f"{folder} has no Ascend plugin: install the wheel of PyPI (mindspore=={MINDSPORE})")
    return folder, version


def digest(version: str) -> str:
    parts = hashlib.sha256(version.encode())
    for path in sorted([*SOURCES.iterdir(), *HERE.glob("*.py")]):
        parts.update(path.name.encode() + b"\0" + path.read_bytes())
    return parts.hexdigest()[:16]


def make(mindspore: Path, folder: Path) -> None:
    """What MindSpore looks for of an installation of CANN: libraries, a version file, a Python package. It finds the
    rest of the installation by the word latest in the path."""
    sys.path.insert(0, str(HERE))
    from wheel_names import read_wheel

    names = read_wheel(mindspore)
    libraries = folder / "cann/latest/lib64"
    libraries.mkdir(parents=True)
    link(mindspore, names, libraries, folder / "objects")
    for name in names.libraries:
        if name != "libascendcl.so":
            (libraries / name).symlink_to("libascendcl.so")
    for name in ("compiler/ccec_compiler/bin", "opp", "opp_kernel", "runtime/data/platform_config"):
        (folder / "cann/latest" / name).mkdir(parents=True)
    (folder / "cann/latest/compiler/version.info").write_text(f"Version={CANN}.1\n")
    # It also looks for a package te, but with one it would compile operators of its own with it.
    (folder / "python/hccl").mkdir(parents=True)
    (folder / "python/hccl/__init__.py").touch()
    (folder / "python/hccl/sys_version.py").write_text(f'__sys_version__ = "{CANN}"\n')
    shutil.rmtree(folder / "objects")


def link(mindspore: Path, names, libraries: Path, objects: Path) -> None:
    """libascendcl.so, which stands for all of CANN, and libemulated_kernels.so."""
    import assembly
    from wheel_names import symbols

    objects.mkdir()
    include = f"-I{mindspore / KERNELS}"
    sources = sorted(path for path in SOURCES.glob("*.cc") if path.name != OWN_LIBRARY)

    def compiled(source: Path) -> Path:
        target = objects / (source.name + ".o")
        run("g++", *FLAGS, include, "-c", source, "-o", target)
        return target

    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(compiled, sources))
    for name, text in (
        ("entry_points", assembly.entry_points(names.operators)),
        ("thunks", assembly.thunks(names.pool_thunks)),
    ):
        (objects / f"{name}.s").write_text(text)
        parts.append(compiled(objects / f"{name}.s"))
    # Linked once to see which names there are: the rest of the wheel's names become stubs.
    run("g++", "-shared", "-o", objects / "without_stubs.so", *parts, "-lpthread", "-ldl", "-lrt")
    there = {name for _, name in symbols(objects / "without_stubs.so", "--defined-only")}
    wanted = {*names.functions, *names.undefined}
    (objects / "stubs.s").write_text(assembly.stubs(sorted(wanted - there)))
    parts.append(compiled(objects / "stubs.s"))
    # Only what others look up is visible: the library is preloaded, and comes first for every name that it has.
    exported = ["acl*", "Hccl*", "Hcom*", "emulated_*", "get_nprocs", "_ZNSt6thread20hardware_concurrencyEv"]
    exported += ["_ZN9mindspore*", "_ZTv0*", "InitHugeMemThreadLocal", "UnInitHugeMemThreadLocal", "ReleaseHugeMem"]
    exported += [*names.undefined, *(n for n in names.functions if n not in exported)]
    (objects / "exports").write_text("{ global: " + " ".join(f"{name};" for name in exported) + " local: *; };\n")
    flags = ["-shared", f"-Wl,--version-script={objects / 'exports'}", "-Wl,-soname,libascendcl.so"]
    run("g++", *flags, "-o", libraries / "libascendcl.so", *parts, "-lpthread", "-ldl", "-lrt")
    real = ["-L" + str(mindspore / KERNELS / "lib"), "-lms_kernels_internal"]
    target = libraries / "libemulated_kernels.so"
    run("g++", *FLAGS, include, "-shared", "-o", target, SOURCES / OWN_LIBRARY, *real)


def run(*command: object) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise CannotBuild(f"{command[0]} failed:\n{done.stderr}")
    if done.stderr and os.environ.get("EMULATED_DEBUG"):
        print(done.stderr, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
