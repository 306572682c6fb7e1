"""Reading a study file: from a path, or by the name of a study that ships with evomerge.

Errors name file, line, field and remedy, as those of search files do.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from evomerge.errors import NotFoundError, Problems, SpecError, did_you_mean
from evomerge.spec import load_preset, problems_of, resolve_model
from evomerge.study.spec import StudyBase, StudyMethod, StudySpec

READY = Path(__file__).parent / "ready"
PAGE = "docs/studies.md"
FindZoo = Callable[[str, int], Path]
"""The folder of a zoo by its name and the seed of its training, trained where it is not there yet."""


def ready_studies() -> tuple[str, ...]:
    """The studies that need no file of one's own."""
    return tuple(sorted(file.stem for file in READY.glob("*.yml")))


def find_study(name: str) -> Path:
    """The file of that path, or of the ready study of that name. Raises NotFoundError."""
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if name in ready_studies():
        return READY / f"{name}.yml"
    raise NotFoundError(
        "neither a file nor a ready study", where=name, remedy=did_you_mean(name, ready_studies())
    )


def load_study(file: Path, zoo: FindZoo | None = None) -> StudySpec:
    """Read a study file; relative paths start in its folder, or in that of its zoo.

    Args:
        zoo: finds, and perhaps trains, the file's zoo; None leaves its paths relative.

    Raises SpecError or Problems.
    """
    data = _read(file)
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        problems = list(problems_of(error, data, file, StudySpec, PAGE))
        raise problems[0] if len(problems) == 1 else Problems(problems) from error
    _check_spaces(spec, file)
    if spec.zoo is None:
        return _resolved(spec, file.parent.resolve())
    trained = spec.model_copy(update={"bases": spec.trained})
    if zoo is None:
        return trained
    folders = {seed: zoo(spec.zoo, seed) for seed in spec.trainings}
    return _resolved(trained, folders[spec.trainings[0]], folders)


def _read(file: Path) -> Any:
    try:
        data = YAML(typ="rt").load(file.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise SpecError(
            f"not valid YAML: {error.problem}", where=f"{file}:{line}", remedy="mend that line"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read: {error}", where=str(file), remedy="check it") from error
    if not isinstance(data, dict):
        raise SpecError("holds no mapping", where=str(file), remedy=f"see {PAGE}")
    return data


def _check_spaces(spec: StudySpec, file: Path) -> None:
    """Presets are looked for before anything is trained."""
    for number, entry in enumerate(spec.methods):
        where = f"{file}: methods.{number}.space"
        if entry.policy == "default":
            continue
        space = entry.space_name
        try:
            found = load_preset(space) if isinstance(space, str) else space
        except NotFoundError as error:
            raise NotFoundError(error.message, where=where, remedy=error.remedy) from error
        if entry.method not in found.methods:
            raise SpecError(
                f"the space is one of {', '.join(found.methods)}, not of {entry.method}",
                where=where,
                remedy=f"let the space's method be {entry.method}, or change the entry's",
            )


def _resolved(
    spec: StudySpec, folder: Path, trainings: Mapping[int, Path] = MappingProxyType({})
) -> StudySpec:
    """With whole paths: of models below their training's folder, where that is another one."""
    include = spec.evaluation.include_path
    place = None if include is None else (folder / include.expanduser()).resolve()
    return spec.model_copy(
        update={
            "bases": tuple(
                _base(base, trainings.get(base.training, folder)) for base in spec.bases
            ),
            "evaluation": spec.evaluation.model_copy(update={"include_path": place}),
        }
    )


def _base(base: StudyBase, folder: Path) -> StudyBase:
    experts = tuple(
        expert.model_copy(
            update={
                "model": resolve_model(expert.model, folder),
                "texts": _texts(expert.texts, folder),
            }
        )
        for expert in base.experts
    )
    multitask = None if base.multitask is None else resolve_model(base.multitask, folder)
    update = {"model": resolve_model(base.model, folder), "name": base.label}
    return base.model_copy(update={**update, "experts": experts, "multitask": multitask})


def _texts(name: str | None, folder: Path) -> str | None:
    path = None if name is None else (folder / Path(name).expanduser()).resolve()
    return str(path) if path is not None and path.is_file() else name


def entry_named(spec: StudySpec, label: str) -> StudyMethod:
    """The method entry of that label."""
    return next(entry for entry in spec.methods if entry.label == label)
