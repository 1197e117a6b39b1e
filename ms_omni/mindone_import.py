"""Imports mindone without its 300 other models, which would take half of a command's start-up time.

The package files of mindone.transformers and mindone.transformers.models import every model. Here they run only when
one of their names is used; submodules are imported as usual. Start-up on two cores, MindSpore included: 5.7 s instead
of 11.5 s.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

PACKAGES = ("mindone.transformers", "mindone.transformers.models")
_VERSION = re.compile(r"^__version__ = \"(.+)\"$", re.MULTILINE)


class _PackageLoader(Loader):
    """Leaves a package empty until a name is used that is not one of its submodules."""

    def __init__(self, own: Loader):
        self.own = own

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual one."""

    def exec_module(self, module: ModuleType) -> None:
        # transformers builds docstrings from this module's tables, and finds it only if it was imported before
        import_module("transformers.models.auto.modeling_auto")
        version = _VERSION.search(Path(str(module.__file__)).read_text(encoding="utf-8"))
        if version:
            vars(module)["__version__"] = version[1]
        vars(module)["__getattr__"] = lambda name: _missing(module, name)


def _missing(package: ModuleType, name: str) -> object:
    is_special = name.startswith("__")
    if is_special and name != "__all__":
        raise AttributeError(f"module {package.__name__!r} has no attribute {name!r}")
    if not is_special and find_spec(f"{package.__name__}.{name}"):
        return import_module(f"{package.__name__}.{name}")
    _fill()
    return getattr(package, name)


def _fill() -> None:
    """Both packages, the outer one first: models import its names."""
    packages = [import_module(name) for name in PACKAGES]
    for package in packages:
        del vars(package)["__getattr__"]
    for package in packages:
        package.__loader__.own.exec_module(package)  # type: ignore[union-attr]


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name in PACKAGES else None
        if spec and spec.loader:
            spec.loader = _PackageLoader(spec.loader)
        return spec


def import_few_models() -> None:
    """Applies to imports from now on; packages that are imported already stay as they are."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
