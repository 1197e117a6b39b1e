"""Counts the collectives in compiled graphs of ms.jit: exactly what one call of each graph executes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ms_omni.parallel.collectives import KINDS, Count

# Ordering, tuples, and views of the same memory
_LAUNCHES_NOTHING = frozenset(
    ("Load", "UpdateState", "Depend", "MakeTuple", "TupleGetItem", "Return", "Reshape", "ExpandDims", "Squeeze")
)
_KIND_OF_OPERATOR = {
    "AllReduce": "all_reduce",
    "AllGather": "all_gather",
    "Broadcast": "broadcast",
    "AlltoAll": "all_to_all",
}


def compiled_graphs() -> frozenset[str]:
    """Names of the graphs that this process has compiled so far; the difference of two calls names the new ones."""
    from ms_omni.kernels.mindspore_internals import ms_compile_cache

    return frozenset(ms_compile_cache)


def graph_counts(graphs: Iterable[str]) -> tuple[Count, ...]:
    """Collectives of one call of each of `graphs`, summed; one entry for each kind, bytes as in collectives.Count.

    Read from the graphs after optimisation, so that joined or dropped operators do not count. (Counting while a graph
    is traced would miss some: MindSpore traces a function once for all calls with arguments of the same types.)
    """
    found = {kind: Count(kind) for kind in KINDS}
    for name in graphs:
        nodes = graph_nodes(name)
        kinds = {node.name: kind for node in nodes if (kind := _kind(node)) is not None}
        for node in nodes:
            if node.name in kinds:
                _add(found, kinds[node.name], 1, _tensor_bytes(node.output_type.tensor_type))
            elif node.op_type == "TupleGetItem" and node.input[0].name in kinds:
                # Broadcast returns a tuple, whose node has no shapes
                _add(found, kinds[node.input[0].name], 0, _tensor_bytes(node.output_type.tensor_type))
    return tuple(found.values())


def graph_operators(graphs: Iterable[str]) -> int:
    """Operators that one call of each of `graphs` launches, after optimisation."""
    return sum(node.op_type not in _LAUNCHES_NOTHING for name in graphs for node in graph_nodes(name))


def graph_nodes(name: str) -> list[Any]:
    """The nodes of a compiled graph after optimisation, NodeProto of mindspore's anf_ir."""
    from mindspore._c_expression import JitExecutor_
    from mindspore.train.anf_ir_pb2 import ModelProto

    model = ModelProto()
    model.ParseFromString(JitExecutor_.get_instance().get_func_graph_proto(name, "anf_ir", False))
    return list(model.graph.node)


def _kind(node: Any) -> str | None:
    if node.op_type == "Custom":  # CPU processes: the attribute is set by collectives.py
        return next((item.value.str_val for item in node.attribute if item.name == "ms_omni_kind"), None)
    return _KIND_OF_OPERATOR.get(node.op_type)


def _add(found: dict[str, Count], kind: str, calls: int, num_bytes: int) -> None:
    found[kind] = Count(kind, found[kind].calls + calls, found[kind].bytes + num_bytes)


def _tensor_bytes(tensor: Any) -> int:
    """0 for what is not a tensor."""
    if not tensor.shape.dim:
        return 0
    return math.prod(dim.size for dim in tensor.shape.dim) * _item_bytes(tensor.elem_type)


def _item_bytes(elem_type: int) -> int:
    from mindspore.train.anf_ir_pb2 import DataType

    name = DataType.Name(elem_type)  # DT_FLOAT32, DT_INT64, DT_BFLOAT16, DT_BOOL ...
    bits = "".join(char for char in name.removeprefix("DT_BFLOAT").removeprefix("DT_") if char.isdigit())
    return int(bits) // 8 if bits else 1
