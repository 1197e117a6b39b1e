"""Compiled graphs kept on disk for the next process, through MindSpore's compile cache, without its trap.

MindSpore 2.7.1 names the files by the order in which a process compiles, reads the directory once, and checks neither
shapes nor constants: a process that compiles in another order would run wrong graphs. So a list beside the files says
which graph each file holds. A graph is read from the cache only if it is the next of the list; at the end of the list
it is added.

A cached graph finds its weights by the names of their Parameters; where it finds none, it computes with uninitialised
memory. A cell would rename its Parameters, so that names depended on the graphs made before. Therefore cells of graphs
are made with auto_prefix=False, and a graph's entry in the list has a digest of its weights' names.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, TextIO
from weakref import WeakSet

import mindspore as ms
from mindspore import Tensor, nn

from ms_omni.errors import OmniError
from ms_omni.parallel.graph_counts import compiled_graphs
from ms_omni.stages import stage

logger = logging.getLogger(__name__)


class GraphCache:
    """One directory; a process has one, since MindSpore reads its own setting once."""

    _of_this_process: GraphCache | None = None

    def __init__(self, directory: Path, lock: TextIO):
        self.directory, self._lock = directory, lock  # held, and with it the lock, until the process ends
        self._list = directory / "graphs.json"
        self._names: list[str] = json.loads(self._list.read_text()) if self._list.exists() else []
        self._next = 0
        self.hits = 0

    @classmethod
    def open(cls, root: str | Path, *identity: Any) -> GraphCache | None:
        """The cache below `root` for graphs of this code and `identity`: printable values that determine them, like
        sizes, dtype and rank. None, with a warning, if another process uses it, or this process already has another.
        Raises OmniError for a `root` that cannot be written."""
        parts = [ms.__version__, _code_digest(), *map(str, identity)]
        directory = Path(root).resolve() / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        mine = cls._of_this_process
        if mine is not None and mine.directory == directory:
            return mine
        if mine is not None:
            logger.warning("--compile-cache %s: not used, this process has %s", root, mine.directory)
            return None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = open(directory / "lock", "w")  # noqa: SIM115  # held until the process ends
        except OSError as error:
            raise OmniError(f"--compile-cache {root}: cannot be written ({error.strerror})") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            logger.warning("--compile-cache %s: not used, another process is using it", root)
            return None
        cls._of_this_process = cls(directory, lock)
        return cls._of_this_process

    @contextmanager
    def compiling(self, name: str) -> Iterator[None]:
        """Wraps the first call of the graph `name`, which must tell it from all others of this identity."""
        place = self._next
        is_new = place == len(self._names)
        if not is_new and self._names[place] != name:
            yield
            return
        self._next += 1
        if is_new:  # files of a process that ended before it wrote the list
            for left in self.directory.glob(f"rank_*/graph_cache/compile_cache_{place}.mindir"):
                left.unlink()
        before = {name: os.environ.get(name) for name in ("MS_COMPILER_CACHE_ENABLE", "MS_COMPILER_CACHE_PATH")}
        os.environ |= {"MS_COMPILER_CACHE_ENABLE": "1", "MS_COMPILER_CACHE_PATH": str(self.directory)}
        try:
            yield
        finally:
            for variable, value in before.items():
                os.environ.pop(variable)
                if value is not None:
                    os.environ[variable] = value
        if is_new:
            self._names.append(name)
            written = self._list.with_suffix(".new")
            written.write_text(json.dumps(self._names, indent=1))
            os.replace(written, self._list)
        else:
            self.hits += 1


class CompiledGraph:
    """A function as a graph, `ms.jit` with `options`, which its first call compiles, or takes from `cache`. Its
    arguments have the same shapes in every call. calls: how often it ran. names: of the graphs that MindSpore compiled
    for it, as parallel.graph_counts reads them."""

    alive: ClassVar[WeakSet[CompiledGraph]] = WeakSet()

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], cache: GraphCache | None, name: str):
        self.name, self.calls, self.names = name, 0, frozenset[str]()
        self._graph, self._cache = ms.jit(function, **options), cache
        self._cell = getattr(function, "__self__", function)
        CompiledGraph.alive.add(self)

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns; the first call compiles."""
        self.calls += 1
        whole = [_whole(argument) for argument in arguments]
        return self._graph(*whole) if self.calls > 1 else self._compile(*whole)

    def _compile(self, *arguments: Any) -> Any:
        before = compiled_graphs()
        name = f"{self.name} {_names_digest(self._cell)}"
        with stage("compile"), self._cache.compiling(name) if self._cache else nullcontext():
            made = self._graph(*arguments)
        self.names = compiled_graphs() - before
        return made


def captured(cell: nn.Cell, inputs: Sequence[Tensor], options: dict[str, Any], name: str) -> Any:
    """`cell` as a graph for any number of rows, whose launches MindSpore captures: for each number of rows the second
    call in succession captures, later ones replay. inputs: of `construct`; None in a shape stands for that number.
    MindSpore 2.7.1 captures one graph of a process, one with this phase and unknown shapes."""
    cell.set_train(False)
    cell.phase = "increment"
    cell.set_inputs(*inputs)
    return CompiledGraph(cell, options, None, name)


def unknown_rows(dtype: Any, *shape: int) -> Tensor:
    """A placeholder of shape (any number, *shape) for `captured`."""
    return Tensor(shape=(None, *shape), dtype=dtype)


def _whole(argument: Any) -> Any:
    """A view as a tensor with its own memory: on Ascend a graph of MindSpore 2.7.1 that is given part of a tensor may
    read from the tensor's beginning, or read other tensors wrongly later."""
    if isinstance(argument, ms.Tensor) and (argument.storage_offset() or not argument.is_contiguous()):
        return argument + 0  # on a CPU mint.clone would read the values on the host
    return argument


def _names_digest(cell: Any) -> str:
    """Digest of the names of a cell's weights; of no names for a plain function."""
    names = sorted(cell.parameters_dict()) if isinstance(cell, nn.Cell) else []
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _code_digest() -> str:
    """Digest of this package's sources, from which graphs are traced."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
