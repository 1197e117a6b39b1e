"""One decoder layer: attention, and experts or a dense network, whole or one rank's share of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mindspore as ms
from mindspore import Tensor, mint, nn, ops

from ms_omni.checkpoint.parameters import parameter
from ms_omni.kernels.concatenate import concatenated
from ms_omni.parallel.collectives import all_gather, all_reduce, all_to_all
from ms_omni.runtime.decoder_spec import DecoderSpec
from ms_omni.runtime.gathered_weights import GatheredLayer, expert_matrix, without_padding
from ms_omni.runtime.sharding import DecoderSharding


class DecoderLayer(nn.Cell):
    """One layer. Its methods are traced into the graphs that call them."""

    def __init__(
        self,
        weights: dict[str, Any],
        spec: DecoderSpec,
        operators: Any,
        name: str,
        sharding: DecoderSharding,
        quantize: str = "none",
        gathered: GatheredLayer | None = None,
    ):
        """weights: of `layer_weights`, or of `small_weights` where the others are `gathered`. spec: sizes of this
        rank's share. name: prefix of the Parameters' names. quantize: none, or for int8 weights int8 or
        int8-dynamic."""
        super().__init__(auto_prefix=False)
        self.is_int8, self.rounds_rows = quantize != "none", quantize == "int8-dynamic"
        self.qkv_scale, self.o_scale, self.gate_up_scale, self.down_scale = None, None, None, None
        self.dense_gate_up_scale, self.dense_down_scale = None, None
        self.spec, self.ops, self.world = spec, operators, sharding.world
        for key, value in (weights | (gathered.arrays if gathered else {})).items():
            setattr(self, key, parameter(value, f"{name}{key}"))
        self.has_bias = spec.has_bias
        self.num_heads, self.num_kv_heads, self.head_dim = spec.num_heads, spec.num_kv_heads, spec.head_dim
        self.eps, self.scale = spec.rms_norm_eps, spec.head_dim**-0.5
        self.has_experts, self.has_shared = "router" in weights, "shared_gate" in weights
        self.is_gathered, self.has_dense = gathered is not None, not self.has_experts or self.has_shared
        self.matrices, self.expert = (gathered.matrices, gathered.expert) if gathered else ((), ())
        self.sizes, self.expert_sizes = (tuple(piece.size for piece in each) for each in (self.matrices, self.expert))
        self.top_k, self.normalize = spec.experts_per_token, spec.normalize_experts
        # In sums over the group, the leader alone adds what all ranks have: biases, and under ep the shared expert
        self.sums_attention = sharding.sums_attention
        self.sums_feed_forward = sharding.sums_feed_forward(self.has_experts)
        self.adds_bias = self.has_bias and (not self.sums_attention or sharding.world.is_leader)
        self.adds_shared = self.has_shared and (sharding.mode != "ep" or sharding.world.is_leader)
        self.num_local, self.first_expert = len(sharding.experts(spec)), sharding.experts(spec).start
        self.has_some_experts = self.num_local < spec.num_experts

    def parts(self, after: Any = None) -> Tensor:
        """(ranks, n): every rank's `flat`, gathered. after: the parts of another layer, which are gathered before."""
        flat = self.flat if after is None else ops.depend(self.flat, after)
        return all_gather(flat, self.world).reshape(self.world.group_size, -1)

    def large(self, parts: Any = None) -> tuple[Any, ...]:
        """The matrices for `decode` and `prefill`: qkv, o, and gate_up and down of the dense or shared expert. Gathered
        weights take one collective unless `parts` are given; it does not depend on earlier layers."""
        if not self.is_gathered:
            return (self.qkv, self.o, self.dense_gate_up, self.dense_down) if self.has_dense else (self.qkv, self.o)
        if parts is None:
            parts = self.parts()
        whole: Any = ()
        taken = self.ops.split(parts, self.sizes)
        for i in range(len(self.sizes)):
            matrix = taken[i].reshape(-1, self.matrices[i].columns)
            whole = (*whole, without_padding(matrix, self.matrices[i].rows))
        attention = (ops.concat(whole[:3], 0), whole[3])
        return (*attention, ops.concat(whole[4:6], 0), whole[6]) if self.has_dense else attention

    def decode(
        self,
        normed: Tensor,
        residual: Tensor,
        large: tuple[Any, ...],
        angle: tuple[Tensor, Tensor],
        cache: tuple[Any, Any],
        slots: Tensor,
        block_tables: Tensor,
        context_lens: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """normed, residual: (rows, hidden), the next token of each row before this layer, with and without its first
        norm. angle: cos and sin, (rows, head_dim). cache: this layer's keys and values, written at `slots`, int32
        (rows,). block_tables: int32 (rows, max_blocks). context_lens: int32 (rows,), these tokens included. Returns the
        output of the feed-forward network, and the residual to add it to."""
        q, k, v = self.heads(normed, large[0], angle)
        keys, values = self.ops.write_cache(cache[0], cache[1], k, v, slots)
        attended = self.ops.decode_attention(q, keys, values, block_tables, context_lens, self.scale)
        return self.after_attention(residual, attended, large, True)

    def decode_frame(
        self,
        normed: Tensor,
        residual: Tensor,
        large: tuple[Any, ...],
        angle: tuple[Tensor, Tensor],
        earlier: tuple[Any, ...],
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """As `decode`, for tokens that see only tokens of the same graph. earlier: their keys and values, (rows,
        kv_heads, n, head_dim) each; empty for the first token. Also returns these with the new token's."""
        q, k, v = self.heads(normed, large[0], angle)
        if len(earlier):
            keys, values = self.ops.extend_frame(earlier[0], k), self.ops.extend_frame(earlier[1], v)
        else:
            shape = (-1, self.num_kv_heads, 1, self.head_dim)
            keys, values = k.reshape(shape), v.reshape(shape)
        added, residual = self.after_attention(
            residual, self.ops.frame_attention(q, keys, values, self.scale), large, True
        )
        return added, residual, (keys, values)

    def prefill(
        self,
        normed: Tensor,
        residual: Tensor,
        large: tuple[Any, ...],
        angle: tuple[Tensor, Tensor],
        cache: tuple[Any, Any],
        slots: Tensor,
        places: Sequence[tuple[slice, int, Tensor | None]],
    ) -> tuple[Tensor, Tensor]:
        """As `decode`, for consecutive tokens of several sequences, one sequence after the other: (tokens, hidden)
        each. places: of each sequence its rows, the position of the first, and, unless that is 0, its blocks, int32
        (blocks,), from which earlier tokens are read. Outside graphs only: it reads the caches after writing them."""
        q, k, v = self.heads(normed, large[0], angle)
        self.ops.write_cache(cache[0], cache[1], k, v, slots)
        attended = [self.attended(q[rows], k[rows], v[rows], cache, start, blocks) for rows, start, blocks in places]
        return self.after_attention(residual, concatenated(attended), large, False)

    def attended(
        self, q: Tensor, k: Tensor, v: Tensor, cache: tuple[Any, Any], start: int, blocks: Tensor | None
    ) -> Tensor:
        """Attention of one sequence's tokens from position `start` on, (tokens, heads * head_dim)."""
        if blocks is not None:
            k, v = (self.ops.read_cache(written, blocks, start + q.shape[0]) for written in cache)
        return self.ops.prefill_attention(q, k, v, self.scale)

    def heads(self, normed: Tensor, qkv_weight: Any, angle: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """q (tokens, heads, head_dim) and k, rotated, and v (tokens, kv_heads, head_dim)."""
        qkv = self.linear(normed, qkv_weight, self.qkv_scale)
        if self.has_bias:
            qkv = qkv + self.qkv_bias
        q, k, v = self.ops.split_qkv(qkv, self.num_heads, self.num_kv_heads)
        q = self.ops.rms_norm(q, self.q_norm, self.eps)
        k = self.ops.rms_norm(k, self.k_norm, self.eps)
        q, k = self.ops.rotary(q, k, angle[0], angle[1])
        return q, k, v

    def after_attention(
        self, residual: Tensor, attended: Tensor, large: tuple[Any, ...], is_step: bool
    ) -> tuple[Tensor, Tensor]:
        """The layer behind attention: projection, second norm, feed-forward network. is_step: one new token for each
        row, not prompts."""
        projected = self.linear(attended, large[1], self.o_scale)
        if self.adds_bias:
            projected = projected + self.o_bias
        if self.sums_attention:
            projected = all_reduce(projected, self.world)
        normed, residual = self.ops.add_rms_norm(projected, residual, self.norm_post, self.eps)
        return self.feed_forward(normed, large, is_step), residual

    def feed_forward(self, x: Tensor, large: tuple[Any, ...], is_step: bool) -> Tensor:
        """x: (tokens, hidden), normed."""
        out = self.moe(x, large, is_step) if self.has_experts else self.dense(x, large)
        return all_reduce(out, self.world) if self.sums_feed_forward else out

    def moe(self, x: Tensor, large: tuple[Any, ...], is_step: bool) -> Tensor:
        """x: (tokens, hidden), normed. The weighted outputs of this rank's experts, (tokens, hidden)."""
        weights, chosen = self.ops.route(x, self.router, self.top_k, self.normalize)
        if self.has_some_experts:
            chosen = chosen - self.first_expert
            here = ops.logical_and(chosen >= 0, chosen < self.num_local)
            # Other ranks' experts get weight 0 and any valid number
            weights, chosen = weights * here.astype(weights.dtype), ops.clamp(chosen, 0, self.num_local - 1)
        if self.is_gathered:
            out = self.gathered_experts(x, weights, chosen, is_step)
        else:
            out = self.experts(x, weights, chosen, (self.gate_up, self.down), (self.gate_up_scale, self.down_scale))
        if self.adds_shared:
            out = out + mint.sigmoid(self.ops.linear(x, self.shared_gate)) * self.dense(x, large)
        return out

    def gathered_experts(self, x: Tensor, weights: Tensor, chosen: Tensor, is_step: bool) -> Tensor:
        """Gathers and applies the chosen experts of each row of a step, or all experts for prompts."""
        scales = self.gate_up_scale, self.down_scale
        if is_step:
            parts = self.chosen_experts(chosen)
            if self.is_int8:
                numbers = chosen.reshape(-1)
                scales = ops.gather(self.gate_up_scale, numbers, 0), ops.gather(self.down_scale, numbers, 0)
            chosen = mint.arange(0, chosen.shape[0] * self.top_k, dtype=ms.int32).reshape(-1, self.top_k)
        else:
            parts = self.all_experts()
        taken = self.ops.split(parts, self.expert_sizes)
        gate, up, down = [expert_matrix(taken[i], self.expert[i]) for i in range(3)]
        packed = self.ops.pack_experts(ops.concat((gate, up), 1), down)
        return self.experts(x, weights, chosen, packed, scales)

    def chosen_experts(self, chosen: Tensor) -> Tensor:
        """chosen: int32 (rows, top_k), of this rank's rows. Every rank's part of those experts, (ranks, rows * top_k,
        m). All ranks exchange their choices, and each sends every rank its part of the experts chosen there."""
        everybodys = all_gather(chosen, self.world)
        parts = all_to_all(self.rows_of_experts(everybodys.reshape(-1)), self.world)
        return parts.reshape(self.world.group_size, chosen.shape[0] * self.top_k, -1)

    def rows_of_experts(self, numbers: Tensor) -> Tensor:
        """numbers: int32 (n,), of experts. This rank's part of them, (n, m). In graphs on Ascend ops.gather of int8 is
        a legacy operator (GatherV2), mint.index_select is not."""
        if self.is_int8 and not self.ops.IN_NUMPY:
            return mint.index_select(self.expert_rows, 0, numbers)
        return ops.gather(self.expert_rows, numbers, 0)

    def all_experts(self) -> Tensor:
        """Every rank's part of all experts, (ranks, experts, m)."""
        rows = self.expert_rows
        return all_gather(rows, self.world).reshape(self.world.group_size, *rows.shape)

    def join_collectives(self) -> None:
        """Takes part in the collectives of `prefill` with gathered weights, on a rank that computes no prompt."""
        self.parts()
        if self.has_experts:
            self.all_experts()

    def dense(self, x: Tensor, large: tuple[Any, ...]) -> Tensor:
        """x: (tokens, hidden). The dense or shared expert."""
        hidden = self.ops.swiglu(self.linear(x, large[2], self.dense_gate_up_scale))
        return self.linear(hidden, large[3], self.dense_down_scale)

    def linear(self, x: Tensor, weight: Any, scale: Any) -> Tensor:
        """x: (tokens, in), weight: (out, in), scale: (out,) of an int8 weight. (tokens, out)."""
        if self.rounds_rows:
            return self.ops.dynamic_linear(x, weight, scale)
        if self.is_int8:
            return self.ops.int8_linear(x, weight, scale)
        return self.ops.linear(x, weight)

    def experts(
        self, x: Tensor, weights: Tensor, chosen: Tensor, packed: tuple[Any, Any], scales: tuple[Any, Any]
    ) -> Tensor:
        """x: (tokens, hidden). weights, chosen: (tokens, top_k). packed: gate_up and down of `pack_experts`. scales:
        (experts, out), of int8 weights."""
        if self.rounds_rows:
            return self.ops.dynamic_experts(x, weights, chosen, packed[0], scales[0], packed[1], scales[1])
        if self.is_int8:
            return self.ops.int8_experts(x, weights, chosen, packed[0], scales[0], packed[1], scales[1])
        return self.ops.experts(x, weights, chosen, packed[0], packed[1])
