"""all_reduce, all_gather, broadcast and all_to_all within a group, in compiled graphs and outside, counted.

On a CPU there are two transports. MindSpore's own, mccl, serves a whole world only. It stays the default there, because
MindSpore joins its equal gathers in a graph as it does on cards, which the tests count, and because it takes a third to
a half of the time of sockets. Sockets (sockets.py) serve smaller groups, and all_to_all, which mccl lacks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import mindspore as ms
from mindspore import mint, ops

from ms_omni.kernels.host_kernel import give_number
from ms_omni.kernels.mindspore_internals import _run_in_jit
from ms_omni.parallel.sockets import Listener, SocketGroup
from ms_omni.parallel.world import World, cpu_transport, own_address

KINDS = ("all_reduce", "all_gather", "broadcast", "all_to_all")


@dataclass(frozen=True)
class Count:
    """Calls of one kind of collective. `bytes`: size of the results that every process holds afterwards."""

    kind: str
    calls: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class GroupOps:
    """The collectives of one group as MindSpore operators, for eager calls and in graphs.

    `widens`: bfloat16 travels as float32, and integers under 32 bits are summed as int32. `widens_integers`: these
    travel as int32 too, as bool always does. `sums_integers`: `reduce` takes integers. `broadcasts`, one for each root,
    is empty where a graph of unknown shapes cannot have them. `exchange` is all_to_all."""

    reduce: Any
    gather: Any
    broadcasts: tuple[Any, ...]
    widens: bool
    sums_integers: bool
    widens_integers: bool = False
    exchange: Any = None


_counts = {kind: Count(kind) for kind in KINDS}


def counts() -> tuple[Count, ...]:
    """Collectives that this process called outside of graphs since the last reset_counts(), one entry for each kind.
    Those in graphs are counted by graph_counts.py."""
    return tuple(_counts.values())


def reset_counts() -> None:
    """Sets the counts of all kinds to 0."""
    for kind in KINDS:
        _counts[kind] = Count(kind)


def all_reduce(x: Any, world: World) -> Any:
    """Sum of the group's tensors, which have one shape and dtype. Bit-identical on every process."""
    if world.group_size == 1:
        return x
    if _is_integer(x) and not world.ops.sums_integers:
        parts = all_gather(x.reshape((1, *x.shape)), world)
        return parts.sum(axis=0).astype(x.dtype)
    wire = _wire(x, world)
    if world.ops.widens and _is_small_integer(x):
        wire = x.astype(ms.int32)
    if not _run_in_jit():  # @jit.cond: False
        _note("all_reduce", wire, 1)
    return world.ops.reduce(wire).astype(x.dtype)


def all_gather(x: Any, world: World) -> Any:
    """(n, ...) of every process -> (group_size * n, ...), in the order of the group ranks."""
    if world.group_size == 1:
        return x
    wire = _wire(x, world)
    if not _run_in_jit():  # @jit.cond: False
        _note("all_gather", wire, world.group_size)
    return world.ops.gather(wire).astype(x.dtype)


def broadcast(x: Any, world: World, root: int = 0) -> Any:
    """The tensor of the process with group rank `root`. All pass one of the same shape and dtype, with at least one
    axis."""
    if world.group_size == 1:
        return x
    if len(world.ops.broadcasts) == 0:
        parts = all_gather(x, world).reshape((world.group_size, -1, *x.shape[1:]))
        return mint.split(parts, 1, 0)[root].reshape((-1, *x.shape[1:]))
    wire = _wire(x, world)
    if not _run_in_jit():  # @jit.cond: False
        _note("broadcast", wire, 1)
    return world.ops.broadcasts[root](wire).astype(x.dtype)


def all_to_all(x: Any, world: World) -> Any:
    """(group_size * n, ...), n rows for each process in the order of the group ranks -> the same shape: the n rows that
    each process has for this one."""
    if world.group_size == 1:
        return x
    wire = _wire(x, world)
    if not _run_in_jit():  # @jit.cond: False
        _note("all_to_all", wire, 1)
    return world.ops.exchange(wire).astype(x.dtype)


def _is_small_integer(x: Any) -> bool:
    return x.dtype == ms.int8 or x.dtype == ms.uint8 or x.dtype == ms.int16


def _is_integer(x: Any) -> bool:
    return x.dtype == ms.int32 or x.dtype == ms.int64 or x.dtype == ms.bool_ or _is_small_integer(x)


def _wire(x: Any, world: World) -> Any:
    """x in a dtype that the operators accept. (Comparisons, because they are resolved while a graph is traced; a
    look-up in a table would not be.)"""
    if world.ops.widens and x.dtype == ms.bfloat16:
        return x.astype(ms.float32)
    if x.dtype == ms.bool_ or (world.ops.widens_integers and _is_small_integer(x)):
        return x.astype(ms.int32)
    return x


def _note(kind: str, wire: Any, copies: int) -> None:
    before = _counts[kind]
    _counts[kind] = Count(kind, before.calls + 1, before.bytes + wire.nbytes * copies)


def connect(world: World) -> World:
    """The world with its group's operators. All processes of the job call this at the same time."""
    if world.group_size == 1:  # a communicator would only take memory
        return world
    if world.device != "CPU":
        return replace(world, ops=_hccl_ops(world))
    if world.group is None and cpu_transport() == "mccl":
        return replace(world, ops=_mccl_ops(world))
    return replace(world, ops=_socket_ops(world))


def _hccl_ops(world: World) -> GroupOps:
    from mindspore.communication import GlobalComm, create_group

    if world.group is not None:
        create_group(world.group, list(world.group_ranks))
    name = world.group or GlobalComm.WORLD_COMM_GROUP
    exchange = ops.AlltoAll(world.group_size, 0, 0, name)
    # On Ascend MindSpore's AllReduce refuses int64 and some smaller integers. So does its Broadcast, which also writes
    # to its argument and cannot infer its shape in a graph with unknown shapes.
    return GroupOps(ops.AllReduce("sum", name), ops.AllGather(name), (), False, sums_integers=False, exchange=exchange)


def _mccl_ops(world: World) -> GroupOps:
    broadcasts = tuple(_SingleBroadcast(ops.Broadcast(root)) for root in world.group_ranks)
    reduce, gather = ops.AllReduce("sum"), ops.AllGather()
    exchange = _host_operator("all_to_all", _links(world).all_to_all, 1)
    return GroupOps(
        reduce, gather, broadcasts, widens=True, sums_integers=False, widens_integers=True, exchange=exchange
    )


class _SingleBroadcast:
    """ops.Broadcast for one tensor: the operator itself takes and returns tuples."""

    def __init__(self, operator: Any) -> None:
        self.operator = operator

    def __call__(self, x: Any) -> Any:
        return self.operator((x,))[0]


def _links(world: World) -> SocketGroup:
    """Connects the processes of each group. All processes of the job call this at the same time."""
    listener = Listener(own_address())
    endpoints = ops.AllGather()(ms.Tensor(listener.endpoint[None])).asnumpy()
    return listener.connect(world.group_rank, [endpoints[rank] for rank in world.group_ranks])


def _socket_ops(world: World) -> GroupOps:
    links = _links(world)
    size = world.group_size

    def root_of(root: int) -> Any:
        return lambda x: links.broadcast(x, root)

    broadcasts = tuple(_host_operator("broadcast", root_of(root), 1) for root in range(size))
    gather = _host_operator("all_gather", links.all_gather, size)
    reduce = _host_operator("all_reduce", links.all_reduce, 1)
    exchange = _host_operator("all_to_all", links.all_to_all, 1)
    return GroupOps(reduce, gather, broadcasts, widens=True, sums_integers=True, exchange=exchange)


def _host_operator(kind: str, function: Any, copies: int) -> Any:
    """An operator that calls a function on numpy arrays; the result has `copies` times the rows of the argument."""
    shape = (lambda x: x) if copies == 1 else (lambda x: [copies * x[0], *x[1:]])
    operator = ops.Custom(function, out_shape=shape, out_dtype=lambda dtype: dtype, func_type="pyfunc")
    operator.add_prim_attr("side_effect_mem", True)  # never dropped, joined with an equal call, or moved past another
    operator.add_prim_attr("ms_omni_kind", kind)
    give_number(operator, function, kind)
    return operator
