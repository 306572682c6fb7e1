"""The models of a recipe in one vocabulary: which tokenizer the merge has, and whose rows must move.

Without a `tokenizer` block rows are merged place by place, as they lie; a tokenizer that calls the
same places by other names is said aloud, another number of rows is refused when shapes are compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from evomerge.errors import CheckpointError
from evomerge.merging.aligned import AlignedCheckpoint
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.indexes import tokenizer_folder
from evomerge.merging.opening import OpenModels
from evomerge.merging.rows import plan_rows
from evomerge.merging.tokenizer import OutputTokenizer, make_tokenizer, special_beyond
from evomerge.recipe import Recipe, Tokenizer
from evomerge.vocabulary import Vocabulary, how_they_differ, read_tokens

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Aligned:
    """A recipe's models as they are merged. `tokenizer` is None where the reference's own is kept."""

    checkpoints: Mapping[str, Checkpoint]
    tokenizer: OutputTokenizer | None = None


def align(
    recipe: Recipe, models: OpenModels, notify: Notify, vocabulary_from: str | None = None
) -> Aligned:
    """Open a recipe's models and bring them into its vocabulary.

    Args:
        vocabulary_from: the model whose vocabulary a recipe without a `tokenizer` block has; None
            leaves rows where they are.

    Raises CheckpointError, and RecipeError for tokens that cannot be had.
    """
    opened = {name: models[name] for name in recipe.all_models()}
    found = {name: known for name in opened if (known := models.vocabulary(name)) is not None}
    base = recipe.base_model or next(iter(opened))
    settings, home = recipe.tokenizer, base
    if settings is None and _is_known(vocabulary_from, models):
        settings, home = Tokenizer(source="base"), str(vocabulary_from)
    elif settings is not None and settings.source not in {"base", "union"}:
        home = settings.source
    if settings is None:
        _say_differences(base, found, notify)
        return Aligned(opened)
    if base not in found:
        raise CheckpointError(
            "no embedding was found whose rows could be aligned",
            where=base,
            remedy="remove tokenizer from the recipe: rows are merged as they lie",
        )
    return _Aligner(recipe, models, settings, found, base, home, notify).align(opened)


def _is_known(model: str | None, models: OpenModels) -> bool:
    """Whether the vocabulary of an engine is known; rows stay where they are if not."""
    known = None if model is None else models.vocabulary(model)
    return known is not None and known.tokens is not None


def _say_differences(base: str, found: Mapping[str, Vocabulary], notify: Notify) -> None:
    """What rows that are merged in place may hide."""
    bare = [name for name, vocabulary in found.items() if vocabulary.tokens is None]
    if bare and len(bare) < len(found):
        notify(f"no tokenizer in {', '.join(bare)}: its rows are taken to be in the others' order")
    for name, vocabulary in found.items():
        if base in found and not vocabulary.same_as(found[base]):
            notify(
                f"{name}: its tokenizer {how_they_differ(found[base], vocabulary)}; rows are merged "
                "place by place (tokenizer: {source: union} aligns them by token)"
            )


class _Aligner:
    def __init__(
        self,
        recipe: Recipe,
        models: OpenModels,
        settings: Tokenizer,
        found: dict[str, Vocabulary],
        base: str,
        home: str,
        notify: Notify,
    ) -> None:
        self.recipe, self.models, self.settings = recipe, models, settings
        self.found, self.base, self.home, self.notify = found, base, home, notify

    def align(self, opened: Mapping[str, Checkpoint]) -> Aligned:
        """The models in the vocabulary of the merge."""
        home, guest = self._home()
        tokenizer = self._tokenizer(home)
        merged = list(self.found)
        members = [*self.found.values(), *([home] if guest is not None else [])]
        checkpoints = [*(opened[name] for name in merged), *([guest] if guest is not None else [])]
        self._check(members, home, tokenizer)
        rows = plan_rows(
            tokenizer.tokens,
            tokenizer.rows,
            members,
            base=merged.index(self.recipe.base_model) if self.recipe.base_model in merged else None,
            home=members.index(home) if home in members else None,
            guest=guest is not None,
            tokens=self.settings.tokens,
        )
        moved = {
            name: AlignedCheckpoint(checkpoints, number, rows)
            for number, name in enumerate(merged)
            if not rows.unchanged(number, members[number].rows)
        }
        return Aligned({**opened, **moved}, tokenizer)

    def _home(self) -> tuple[Vocabulary, Checkpoint | None]:
        """The vocabulary that is taken, and its model where that is none of the merged ones."""
        if self.home in self.found:
            return self.found[self.home], None
        folder = tokenizer_folder(self.home, self.models.folders)
        if (folder / "config.json").is_file():
            vocabulary = self.models.vocabulary(self.home)
            if vocabulary is not None:
                return vocabulary, self.models[self.home]
        tokens = read_tokens(folder)
        return Vocabulary(self.home, 1 + max((tokens or {"": -1}).values()), tokens), None

    def _tokenizer(self, home: Vocabulary) -> OutputTokenizer:
        others = [
            (vocabulary, self._folder(name))
            for name, vocabulary in self.found.items()
            if self.settings.source == "union" and name != self.home
        ]
        return make_tokenizer(
            home,
            self._folder(self.home),
            others,
            extra=self.settings.tokens,
            multiple=self.settings.pad_to_multiple_of,
            foreign=self.home != self.base,
        )

    def _folder(self, name: str) -> Path:
        return tokenizer_folder(name, self.models.folders)

    def _check(
        self, members: list[Vocabulary], home: Vocabulary, tokenizer: OutputTokenizer
    ) -> None:
        bare = [member for member in members if member.tokens is None]
        for member in bare:
            if member.rows != home.rows:
                raise CheckpointError(
                    f"no tokenizer, and {member.rows} rows where {home.name} has {home.rows}",
                    where=member.name,
                    remedy="put its tokenizer.json beside the weights",
                )
        if bare:
            names = ", ".join(member.name for member in bare)
            self.notify(f"no tokenizer in {names}: its rows are taken to be in {home.name}'s order")
        config = tokenizer.config(self.models[self.base].index.config)
        for beyond in special_beyond(config, tokenizer.rows):
            self.notify(f"{beyond} of the merged config is beyond its {tokenizer.rows} rows")
