"""What a recipe's tensors are merged with: its models in its vocabulary, and the numbers of its kernels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.merging.align import Aligned, Notify, align
from evomerge.merging.finite import nonfinite_error
from evomerge.merging.knobs import KnobMaker, Scalars
from evomerge.merging.measure import all_finite
from evomerge.merging.opening import OpenModels
from evomerge.merging.placement import ModelsOn, Residence, choose, free_room
from evomerge.merging.plan import Layout, Part, TensorPlan
from evomerge.merging.rank_store import RankStore
from evomerge.merging.rebuilt import RebuiltCheckpoint
from evomerge.merging.reordered import reorder
from evomerge.merging.statistics import StatisticsCache
from evomerge.recipe import Recipe


@dataclass(frozen=True)
class Bench:
    """Everything that the tensors of one recipe need."""

    models: Aligned
    knobs: KnobMaker
    residence: Residence

    def scalars(self, recipe: Recipe, plan: TensorPlan, layouts: Sequence[Layout]) -> Scalars:
        """The numbers of one tensor's kernel."""
        return self.knobs.scalars(recipe, plan, layouts)

    def tensors(self, layout: Layout) -> tuple[Tensor | None, list[Tensor]]:
        """The base's tensor, where there is one, and the models', where they live."""
        base = None if layout.base is None else self._resident(layout.base)
        return base, [self._resident(part) for part in layout.parts]

    def copy(self, layout: Layout, out: Tensor) -> None:
        """Write a tensor that is not merged. Raises CheckpointError where the models' differ."""
        pieces = [part for part in (layout.base, *layout.parts) if part is not None]
        first = self._tensor(pieces[0])
        for part in pieces[1:]:
            if not torch.equal(first, self._tensor(part)):
                raise CheckpointError(
                    f"buffer {part.info.name!r} differs from {pieces[0].model}",
                    where=part.model,
                    remedy="merge fine-tunes of one base model only",
                )
        with torch.no_grad():
            out.copy_(first.view(out.shape))

    def check_finite(self, layout: Layout, base: Tensor | None, models: Sequence[Tensor]) -> None:
        """Raise CheckpointError where a tensor that is about to be merged holds NaN or infinity."""
        given = [
            *([] if base is None else [(layout.base, base)]),
            *zip(layout.parts, models, strict=True),
        ]
        for part, tensor in given:
            if part is not None and not all_finite(tensor):
                index = self.models.checkpoints[part.model].index
                raise nonfinite_error([part.info], index.name if index.parts else None)

    def _resident(self, part: Part) -> Tensor:
        checkpoint = self.models.checkpoints[part.model]
        if isinstance(checkpoint, RebuiltCheckpoint):  # of this candidate alone
            return self._tensor(part)
        name = checkpoint.fingerprint(part.info)
        return self.residence.of(name, lambda: self._tensor(part))

    def _tensor(self, part: Part) -> Tensor:
        return self.models.checkpoints[part.model].tensor(part.info)


class Benches:
    """A bench for each set of models and vocabulary, made once.

    Args:
        tables, vocabulary_from, device, models_on: as in `MergeSource`.
    """

    def __init__(
        self,
        models: OpenModels,
        cache: StatisticsCache,
        ranks: RankStore,
        notify: Notify,
        *,
        tables: bool,
        vocabulary_from: str | None,
        device: torch.device,
        models_on: ModelsOn,
    ) -> None:
        self._models = models
        self._cache = cache
        self._ranks = ranks
        self._notify = notify
        self._tables = tables
        self._vocabulary_from = vocabulary_from
        self._device = device
        self._models_on: ModelsOn = models_on
        self._residence: Residence | None = None
        self._known: dict[object, Bench] = {}

    def of(self, recipe: Recipe) -> Bench:
        """The bench of a recipe. Raises CheckpointError and RecipeError."""
        key = vocabulary_key(recipe)
        if key not in self._known:
            aligned = align(recipe, self._models, self._notify, self._vocabulary_from)
            aligned = reorder(recipe, aligned, self._cache)
            knobs = KnobMaker(aligned.checkpoints, self._cache, self._ranks, tables=self._tables)
            self._known[key] = Bench(aligned, knobs, self._reside())
        return self._known[key]

    def forget(self, recipe: Recipe) -> None:
        """Let go of the bench of a recipe."""
        self._known.pop(vocabulary_key(recipe), None)

    def clear(self) -> None:
        """Let go of the models."""
        self._known.clear()
        self._ranks.clear()
        self._residence = None

    def _reside(self) -> Residence:
        """Chosen once, for all models that recipes may name."""
        if self._residence is None:
            place = choose(self._models_on, self._models.num_bytes, free_room(self._device))
            self._residence = Residence(place, self._device)
        return self._residence


def vocabulary_key(recipe: Recipe) -> str:
    """What the vocabulary of a recipe, and which rows it has, depend on."""
    tokenizer = None if recipe.tokenizer is None else recipe.tokenizer.model_dump_json()
    reordered = (recipe.align, recipe.seed) if recipe.align else None
    return repr((recipe.base_model, recipe.all_models(), tokenizer, reordered))
