"""What a file asks to be measured: every merge of a configuration, or a search."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from evomerge.calibration.recipes import needs_texts, set_of
from evomerge.errors import UsageError
from evomerge.evaluation.calibrated import Work
from evomerge.evaluation.calibration_texts import texts_of, wanted
from evomerge.hub import model_folders
from evomerge.merging.documents import Document, load_documents
from evomerge.merging.merge import MergeSource
from evomerge.merging.mergekit_yaml import read_text
from evomerge.merging.plan import resolve
from evomerge.merging.rebuilt import needed_by
from evomerge.methods import get_method
from evomerge.spec import load_spec


def works_of_file(file: Path, more: tuple[str, ...]) -> list[Work]:
    """The work for each merge that needs any, or for the search; texts are kept on this machine.

    Args:
        more: statistics that are measured besides.

    Raises UsageError where the file, its models or its texts cannot be used.
    """
    works = _of_merges(file, more) if _is_merge(file) else _of_search(file, more)
    for work in works:
        work.texts.save()
    return works


def _is_merge(file: Path) -> bool:
    try:
        documents = list(YAML(typ="safe").load_all(read_text(file)))
    except MarkedYAMLError:
        return False  # whoever reads it as a search says what is wrong, and where
    return any(isinstance(one, dict) and "merge_method" in one for one in documents)


def _of_search(file: Path, more: tuple[str, ...]) -> list[Work]:
    spec = load_spec(file)
    statistics = tuple(sorted({*wanted(spec.space_spec), *more}))
    if not statistics:
        return []
    return [Work(spec.models, model_folders(spec.models), statistics, texts_of(spec))]


def _of_merges(file: Path, more: tuple[str, ...]) -> list[Work]:
    found = [_of_merge(one, file.parent, more) for one in load_documents(file)]
    return [work for work in found if work is not None]


def _of_merge(document: Document, home: Path, more: tuple[str, ...]) -> Work | None:
    recipe, method = document.recipe, get_method(document.recipe.merge_method)
    aligning = ("activations",) if recipe.align == "activations" else ()
    if method.statistics is None and not more and not aligning:
        return None
    if recipe.calibration is None:
        raise needs_texts(method.name)
    if document.uses:
        raise UsageError(
            f"{method.name} merges the results of other merges, which are not there to be measured",
            where=document.name,
            remedy="merge those into folders of their own first, and name the folders",
        )
    folders = model_folders(recipe.all_models(), home)
    texts = set_of(recipe.calibration, home)
    if aligning:
        return Work(recipe.all_models(), folders, tuple(sorted({*aligning, *more})), texts)
    if method.rebuilds:
        merged = tuple(source.model for source in recipe.models or ())
        needed = {*needed_by(recipe, method), *more}
        return Work(merged, folders, tuple(sorted(needed)), texts)
    with MergeSource(folders, tables=False) as source:
        plans = list(resolve(recipe, source.layouts(recipe)))
    names: set[str] = set(more)
    models: dict[str, Any] = {}
    for plan in plans:
        names.update(method.statistics(plan.values) if method.statistics else ())
        models |= dict.fromkeys(part.model for part in plan.layout.parts)
    return Work(tuple(models), folders, tuple(sorted(names)), texts)
