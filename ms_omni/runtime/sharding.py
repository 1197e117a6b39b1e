"""How one decoder is shared out over a group of processes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ms_omni.parallel.sizes import PREDICTOR, TALKER, ModelSizes
from ms_omni.parallel.table import expert_range, num_owners, shares_talker
from ms_omni.parallel.world import World
from ms_omni.runtime.decoder_spec import DecoderSpec


@dataclass(frozen=True)
class DecoderSharding:
    """mode: the decoder's sharding mode, as in the shard table; "none" if it is replicated."""

    mode: str = "none"
    world: World = field(default_factory=World)

    @classmethod
    def of(cls, prefix: str, mode: str, world: World, sizes: ModelSizes) -> DecoderSharding:
        """prefix: of the decoder's weight names. Mode and world as the shard table gives them for this decoder."""
        if prefix == PREDICTOR and mode != "zero3":
            return cls()
        if prefix == TALKER and mode in ("ep", "tp") and not shares_talker(mode, world.group_size, sizes):
            return cls()
        return cls(mode, world) if world.group_size > 1 else cls()

    @property
    def num_owners(self) -> int:
        """Ranks between which conversations are divided; 1 if every rank computes all of them."""
        return num_owners(self.mode, self.world.group_size)

    @property
    def owner(self) -> int:
        """This rank's number among the owners."""
        return self.world.group_rank if self.num_owners > 1 else 0

    @property
    def sums_attention(self) -> bool:
        """Whether the ranks' attention outputs are summed."""
        return self.mode == "tp"

    def sums_feed_forward(self, has_experts: bool) -> bool:
        """Whether the ranks' feed-forward outputs are summed."""
        return self.mode == "tp" or (self.mode == "ep" and has_experts)

    def experts(self, spec: DecoderSpec) -> range:
        """The experts whose weights this rank has."""
        if self.mode != "ep":
            return range(spec.num_experts)
        return expert_range(spec.num_experts, self.world.group_rank, self.world.group_size)

    def local(self, spec: DecoderSpec) -> DecoderSpec:
        """The sizes of what this rank computes."""
        if self.mode != "tp":
            return spec
        size = self.world.group_size
        return replace(spec, num_heads=spec.num_heads // size, num_kv_heads=max(1, spec.num_kv_heads // size))
