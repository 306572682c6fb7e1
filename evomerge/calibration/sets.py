"""Calibration texts as one set, known by its content.

A set names the texts of each model, and how many tokens of a text are read. It lies as a JSON-lines
file in the user's data folder under its id, so that a recipe that names the id names the texts.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from evomerge.calibration.files import write_whole
from evomerge.errors import NotFoundError, SpecError
from evomerge.fingerprint import digest
from evomerge.hub import short_name
from evomerge.resources import calibration_folder, data_folder

PREFIX = "set:"
"""Marks the id of a set where a file might stand."""
_FORMAT = 1


@dataclass(frozen=True)
class Example:
    """One text. `text` is what a model has to predict, after `prompt`, which is given.

    label: the class, for classifiers. model: whose text it is; None: everybody's.
    """

    text: str
    prompt: str = ""
    label: int | None = None
    model: str | None = None

    @property
    def content(self) -> tuple[str, str, int | None]:
        """All of it but whose it is."""
        return self.prompt, self.text, self.label

    @property
    def hash(self) -> str:
        """Orders examples, whatever their order in a file."""
        text = json.dumps(self.content)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class CalibrationSet:
    """Texts for the models of a merge; at most `max_length` tokens of each are read."""

    examples: tuple[Example, ...]
    max_length: int

    def of(self, model: str) -> tuple[Example, ...]:
        """A model's own examples; the shared ones where it has none. SpecError where there are none."""
        names = {model, short_name(model)}
        own = tuple(one for one in self.examples if one.model in names)
        found = own or tuple(one for one in self.examples if one.model is None)
        if not found:
            raise SpecError(
                f"no calibration text for {model}",
                where="calibration",
                remedy="name texts for all models under `data`, or this one's under `own`",
            )
        return found

    def digest_of(self, model: str) -> str:
        """What a model is measured on, as 16 hex digits; worked out once."""
        if model not in self._digests:
            contents = (one.content for one in self.of(model))
            self._digests[model] = digest([self.max_length, *contents])
        return self._digests[model]

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {}

    @cached_property
    def id(self) -> str:
        """16 hex digits for all of it."""
        contents = [(one.model, one.content) for one in self.examples]
        return digest([_FORMAT, self.max_length, *contents])

    @property
    def name(self) -> str:
        """What a recipe calls it."""
        return PREFIX + self.id

    def save(self) -> str:
        """Keep the set, unless it is there already; returns its name."""
        lines = [{"format": _FORMAT, "max_length": self.max_length}, *map(asdict, self.examples)]
        file = _file(self.id)
        if not file.is_file():
            write_whole(file, "".join(json.dumps(line) + "\n" for line in lines).encode())
        return self.name


def make_set(
    shared: Iterable[Example],
    own: Mapping[str, Iterable[Example]],
    *,
    examples: int,
    max_length: int,
) -> CalibrationSet:
    """A set of at most `examples` shared ones, and at most as many of each model's own."""
    chosen = list(_choose(shared, examples))
    for model in sorted(own):
        chosen += [replace(one, model=model) for one in _choose(own[model], examples)]
    return CalibrationSet(tuple(chosen), max_length)


def load_set(name: str) -> CalibrationSet:
    """The set named `set:ID`. Raises NotFoundError where it is not kept here."""
    file = _file(name.removeprefix(PREFIX))
    try:
        head, *lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        found = CalibrationSet(tuple(Example(**line) for line in lines), int(head["max_length"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise _lost(name, str(file)) from error
    if found.name != name:
        raise _lost(name, str(file))
    return found


def _lost(name: str, where: str) -> NotFoundError:
    return NotFoundError(
        f"the calibration set {name} is not kept on this machine",
        where=where,
        remedy="run `evomerge calibrate` on the file that it came from, or name the texts themselves",
    )


def _choose(examples: Iterable[Example], count: int) -> tuple[Example, ...]:
    """At most `count` different examples, in an order that their content alone decides."""
    different = {one.hash: one for one in examples if one.text}
    return tuple(different[key] for key in sorted(different)[:count])


def _file(number: str) -> Path:
    shared = calibration_folder()
    folder = data_folder() / "calibration" if shared is None else shared / "texts"
    return folder / f"{number}.jsonl"
