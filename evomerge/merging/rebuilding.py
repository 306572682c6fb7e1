"""Methods that make a whole model: who builds it, and the recipe that stands for what was built."""

from collections.abc import Callable, Mapping

from evomerge.errors import RecipeError
from evomerge.merging.dam.apply import build_dam
from evomerge.merging.experts import build_m_smoe
from evomerge.merging.opening import OpenModels
from evomerge.merging.pleas import build_pleas
from evomerge.merging.rebuilt import Build, RebuiltCheckpoint, Request, lowered
from evomerge.methods import get_method
from evomerge.recipe import Recipe

_BUILDERS: Mapping[str, Build] = {"pleas": build_pleas, "m_smoe": build_m_smoe, "dam": build_dam}


class Rebuilding:
    """The last model that was built, and the recipe that it was built for.

    One at a time: a search never comes back to a candidate.
    """

    def __init__(self, models: OpenModels, forget: Callable[[Recipe], None]) -> None:
        self._models = models
        self._forget = forget
        self._last: tuple[str, Recipe] | None = None

    def lower(self, recipe: Recipe, request: Callable[[], Request]) -> Recipe:
        """The recipe that is merged in the place of this one; itself for most methods.

        Raises whatever its builder does.
        """
        if not get_method(recipe.merge_method).rebuilds:
            return recipe
        if self._last is None or self._last[0] != recipe.recipe_id:
            self.clear()
            built = self._build(recipe, request())
            name = f"{recipe.merge_method}:{recipe.recipe_id}"
            self._models.add(name, built)
            self._last = recipe.recipe_id, lowered(recipe, name)
        return self._last[1]

    def clear(self) -> None:
        """Let go of what was built."""
        if self._last is not None:
            self._models.drop(self._last[1].all_models()[0])
            self._forget(self._last[1])
            self._last = None

    @staticmethod
    def _build(recipe: Recipe, request: Request) -> RebuiltCheckpoint:
        builder = _BUILDERS.get(recipe.merge_method)
        if builder is None:
            raise RecipeError(f"{recipe.merge_method} has no builder")
        return builder(request)
