"""How the routers of a mixture of experts distribute tokens: who is chosen, and which logits go together."""

from collections.abc import Sequence

import torch

from evomerge.calibration.batches import Batch
from evomerge.calibration.collectors.base import Sums, Unit
from evomerge.calibration.loading import Loaded
from evomerge.calibration.watch import Call, LinearWatch

USAGE, PRODUCTS = ":usage", ":products"
"""Behind a router's name: shares [E] of all selections, inner products [E, E] of its logits."""
_ROUTERS = ("mlp.gate.weight", "block_sparse_moe.gate.weight")


class Routing:
    """Usage and logit products of every router; what the model selects is the top k of its logits."""

    one_by_one = False

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._routers = {n: slot for n, slot in loaded.slots.items() if n.endswith(_ROUTERS)}
        config = loaded.model.config
        self._chosen = int(getattr(config, "num_experts_per_tok", 1) or 1)
        self._active: frozenset[str] = frozenset()
        self.sums = Sums()

    def units(self, batch: Batch) -> Sequence[Unit]:
        del batch
        return [
            Unit((name,), 4 * slot.shape[0] * (slot.shape[0] + 1))
            for name, slot in self._routers.items()
        ]

    def begin(self, names: frozenset[str]) -> None:
        self._active = names
        self.sums = Sums()

    @torch.no_grad()
    def feed(self, batch: Batch) -> None:
        with LinearWatch(self._loaded.model, self._routers, self._see):
            self._loaded.model(input_ids=batch.ids_BT)

    def values(self) -> dict[str, torch.Tensor]:
        found = {}
        for name in sorted(self._active):
            tokens = self.sums.counts.get(name, 0)
            if tokens:
                found[name + USAGE] = self.sums.tensors[name + USAGE] / (tokens * self._chosen)
                found[name + PRODUCTS] = self.sums.tensors[name + PRODUCTS] / tokens
        return found

    def _see(self, call: Call) -> None:
        for _, slot in call.slots:
            if slot.name not in self._active:
                continue
            logits_TE = call.output.detach().reshape(-1, slot.shape[0]).float()
            top_TK = logits_TE.topk(min(self._chosen, slot.shape[0]), dim=-1).indices
            counts_E = torch.bincount(top_TK.reshape(-1), minlength=slot.shape[0])
            self.sums.add(slot.name + USAGE, logits_TE[0]).add_(counts_E)
            total = self.sums.add(slot.name + PRODUCTS, logits_TE.new_zeros([slot.shape[0]] * 2))
            total.addmm_(logits_TE.T, logits_TE)
            self.sums.count(slot.name, len(logits_TE))
