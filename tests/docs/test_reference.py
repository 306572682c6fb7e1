"""The documentation says what the code says: every field, default, method and preset."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from evomerge.fitness import Objective, Splits, TaskObjective
from evomerge.methods import METHODS
from evomerge.space import LayersSpec, Range, SearchSpace, SpaceSpec
from evomerge.spec import (
    Budget,
    CalibrationSpec,
    EngineSpec,
    RacingSpec,
    SearchSpec,
    Selection,
    Starts,
    StrategySpec,
    WorkersSpec,
    load_preset,
)
from tests.docs.blocks import pages
from tests.space.any_method import number_of_models
from tests.space.families import index_of

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
SECTIONS: dict[str, type[BaseModel]] = {
    "The file": SearchSpec,
    "space": SpaceSpec,
    "space.parameters": Range,
    "space.layers": LayersSpec,
    "objective": Objective,
    "objective.tasks": TaskObjective,
    "objective.splits": Splits,
    "strategy": StrategySpec,
    "strategy.start": Starts,
    "racing": RacingSpec,
    "budget": Budget,
    "workers": WorkersSpec,
    "engine": EngineSpec,
    "calibration": CalibrationSpec,
    "selection": Selection,
}


def documented(section: str) -> dict[str, str]:
    """Field and default of every row in a section of the search-file reference."""
    text = (DOCS / "search_file.md").read_text(encoding="utf-8")
    body = text.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", body, flags=re.MULTILINE))


def shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "–"
    if isinstance(default, BaseModel):
        return f"`{json.dumps(default.model_dump(mode='json', exclude_defaults=True))}`"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def default_of(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True)
    return float(default) if field.annotation is float and isinstance(default, int) else default


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_of_the_search_file_is_documented_with_its_default(section: str) -> None:
    fields = SECTIONS[section].model_fields.items()
    expected = {name: shown(default_of(field)) for name, field in fields}
    assert documented(section) == expected


def test_every_section_of_the_search_file_is_a_part_of_it() -> None:
    text = (DOCS / "search_file.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (.+)$", text, flags=re.MULTILINE)) == set(SECTIONS)


def test_the_page_of_methods_is_what_the_declarations_say() -> None:
    written = (DOCS / "methods.md").read_text(encoding="utf-8")
    assert written == builder("build_reference").page(), "run: python docs/build_reference.py"


def test_the_pictures_of_methods_are_what_the_merges_give() -> None:
    rows, others = builder("build_pictures"), builder("build_data_pictures")
    drawn = {name: rows.picture(method) for name, method in METHODS.items() if rows.drawn(method)}
    drawn |= {name: draw() for name, draw in others.PICTURES.items()}
    written = {file.stem: file.read_text(encoding="utf-8") for file in rows.FOLDER.glob("*.svg")}
    changed = [name for name in drawn | written if drawn.get(name) != written.get(name)]
    how = "run: python docs/build_pictures.py and docs/build_data_pictures.py, then docs/build_reference.py"
    assert changed == [], how
    assert drawn.keys() == METHODS.keys()


def test_the_picture_of_the_demo_is_what_the_recording_gives() -> None:
    build = builder("build_recording")
    lines = build.read()
    drawn = build.PICTURE.read_text(encoding="utf-8")
    assert drawn == build.drawing(lines), "run: python docs/build_recording.py"
    assert len(drawn) < 300_000
    assert [second for second, _ in lines] == sorted(second for second, _ in lines)
    assert any("mergekit" in text or "merge_method" in text for _, text in lines)


def test_the_reference_of_the_api_is_what_the_server_declares() -> None:
    written = (DOCS / "api_reference.md").read_text(encoding="utf-8")
    assert written == builder("build_api").page(), "run: python docs/build_api.py"


def test_every_message_of_the_troubleshooting_page_is_raised_somewhere() -> None:
    build = builder("build_troubleshooting")
    raised = {build.row(message) for message in build.messages()}
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    documented = {row for row in rows if row != "| It says | Do |"}
    gone = documented - raised
    assert gone == set(), "run: python docs/build_troubleshooting.py"
    assert len(documented) > 0.8 * len(raised), "run: python docs/build_troubleshooting.py"


def builder(name: str) -> ModuleType:
    """The module of docs/ of that name; some use another one of them."""
    with patch.object(sys, "path", [str(DOCS), *sys.path]):
        return importlib.import_module(name)


def test_every_preset_is_documented_with_its_number_of_genes() -> None:
    text = (DOCS / "search_spaces.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| ", text.split("## One")[0], flags=re.MULTILINE)
    index = index_of("untied", layers=12)
    expected = {}
    for preset in (file.stem for file in (ROOT / "search_spaces").glob("*.yml")):
        spec = load_preset(preset)
        models = ("a", "b", "c")[: number_of_models(spec)]
        expected[preset] = SearchSpace(spec, "base", models, index).dimension
    assert {name: int(genes) for name, genes in rows} == expected


def test_the_spaces_that_the_documentation_shows_are_accepted() -> None:
    text = (DOCS / "search_spaces.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\nspace:\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        SpaceSpec.model_validate(YAML(typ="safe").load(block))


def test_every_link_between_pages_leads_somewhere() -> None:
    link = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
    broken = [
        f"{page.relative_to(ROOT)} → {target}"
        for page in pages()
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_file_and_folder_that_the_newcomers_guide_names_is_there() -> None:
    text = (DOCS / "contributing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./]+(?:\.(?:py|sql|yml|md)|/))`", text))
    named = {name for name in named if "NAME" not in name} - {"dist/"}  # which `make dist` makes
    homes = (ROOT, ROOT / "evomerge", ROOT / "tests", DOCS, ROOT / "db" / "queries")
    assert [name for name in sorted(named) if not any((h / name).exists() for h in homes)] == []
    assert len(named) > 40


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    todo = [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#:]+\.md)", page.read_text(encoding="utf-8"))
        todo += [(page.parent / link).resolve() for link in links]
    assert {page.resolve() for page in DOCS.rglob("*.md")} <= {page.resolve() for page in seen}
