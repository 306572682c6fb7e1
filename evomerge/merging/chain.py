"""From a file with one merge or several to model folders: what `evomerge merge CONFIG OUT` does.

Results that other merges use lie in a temporary folder beside OUT and vanish at the end, unless a
folder is given for them: then they stay, and are used again as long as their configuration is the
same.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from evomerge.hub import model_folders, split_model
from evomerge.merging.documents import Document, dump_with_origin, load_documents, results_of
from evomerge.merging.offline import Report, merge_to_folder, models_of
from evomerge.merging.out_folder import make_parent, refuse_existing
from evomerge.merging.writer import MAX_SHARD
from evomerge.recipe import CONFIG_FILE, Recipe

_STAMP = ".evomerge-models.json"
"""Beside a result that others use: what it was made of."""

Notify = Callable[[str], None]
Meter = Callable[[str], AbstractContextManager[Report | None]]
"""Shows how far a merge is, whose title it is given."""


def no_meter(_: str) -> AbstractContextManager[Report | None]:
    """Shows nothing."""
    return nullcontext()


@dataclass(frozen=True)
class Options:
    """How to merge; `intermediate` is where results stay that other merges use."""

    random_seed: int | None = None
    device: str = "cpu"
    max_shard: int = MAX_SHARD
    intermediate: Path | None = None


@dataclass(frozen=True)
class Merged:
    """A final result: its folder, the recipe, and the configuration that made it."""

    folder: Path
    recipe: Recipe
    config: str


def merge_file(
    config: Path,
    out: Path,
    options: Options = Options(),
    *,
    meter: Meter = no_meter,
    notify: Notify | None = None,
) -> list[Merged]:
    """Merge the file at `config`: into `out`, or into a folder of each name in it if several are final.

    Model paths are taken as they are, then relative to the file's folder, then as names on the
    Hugging Face hub. Raises EvomergeError only, and leaves no part of a result behind.
    """
    documents = _seeded(load_documents(config), options.random_seed)
    results = results_of(documents)
    refuse_existing(out)
    _Chain(documents, config.parent).check()
    targets = {d.name: out if len(results) == 1 else out / str(d.name) for d in results}
    with _intermediate(out, options, needed=len(results) < len(documents)) as folder:
        chain = _Chain(documents, config.parent, folder)
        for document in documents:
            chain.merge(document, targets.get(document.name), options, meter, notify)
    return [Merged(targets[d.name], d.recipe, chain.text(d)) for d in results]


def _seeded(documents: Sequence[Document], seed: int | None) -> tuple[Document, ...]:
    if seed is None:
        return tuple(documents)
    return tuple(replace(d, recipe=d.recipe.model_copy(update={"seed": seed})) for d in documents)


@contextmanager
def _intermediate(out: Path, options: Options, *, needed: bool) -> Iterator[Path]:
    if options.intermediate is not None or not needed:
        yield options.intermediate or out
        return
    make_parent(out)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-steps-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Chain:
    """Merges documents one after the other; later ones find the folders of earlier ones."""

    def __init__(
        self, documents: Sequence[Document], home: Path, folder: Path | None = None
    ) -> None:
        self._by_name = {document.name: document for document in documents}
        self._home = home
        self._folder = folder

    def text(self, document: Document) -> str:
        """The configuration that a result carries."""
        return dump_with_origin(document, self._by_name)

    def check(self) -> None:
        """Look for every model that is not made here, before the first merge."""
        for document in self._by_name.values():
            self._outside(document)

    def merge(
        self,
        document: Document,
        target: Path | None,
        options: Options,
        meter: Meter,
        notify: Notify | None,
    ) -> None:
        """Merge a document into `target`, or to where those lie that others use."""
        out = target or self._place(str(document.name))
        text = self.text(document)
        made = {name: self._place(name) for name in document.uses}
        models = {**self._outside(document), **made}
        stamp = "" if target else _stamp(models)
        if target is None and _holds(out, text, stamp):
            if notify is not None:
                notify(f"{out} holds this merge already")
            return
        title = f"merging into {out}" if target else f"merging {document.name}, which others use"
        with meter(title) as report:
            merge_to_folder(
                document.recipe,
                out,
                models=models,
                config=text,
                device=options.device,
                max_shard=options.max_shard,
                progress=report,
                notify=notify,
                home=self._home,
            )
        if target is None:
            (out / _STAMP).write_text(stamp, encoding="utf-8")

    def _place(self, name: str) -> Path:
        return (self._folder or Path()) / name

    def _outside(self, document: Document) -> dict[str, Path]:
        """The folders of the models and adapters that are not made here."""
        made = document.uses.__contains__
        outside: list[str] = []
        for model in models_of(document.recipe):
            parts = split_model(model, made)
            outside += [p for p in parts if not made(p)] if any(map(made, parts)) else [model]
        return model_folders(outside, self._home)


def _stamp(models: Mapping[str, Path]) -> str:
    """What the models of a merge are: folders, and their files' sizes and times."""
    files = {
        name: [
            str(folder.resolve()),
            *((f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.glob("*"))),
        ]
        for name, folder in models.items()
    }
    return json.dumps(files, sort_keys=True)


def _holds(folder: Path, text: str, stamp: str) -> bool:
    """Whether a folder holds this merge of these models."""
    wanted = {CONFIG_FILE: text, _STAMP: stamp}
    return all(
        (folder / name).is_file() and (folder / name).read_text(encoding="utf-8") == content
        for name, content in wanted.items()
    )
