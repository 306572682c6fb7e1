"""A strategy that a search file may name is made, passes the conformance suite, and is documented."""

from pathlib import Path
from typing import get_args

import pytest

from evomerge.spec import SOUP, StrategySpec
from evomerge.strategy.make import _MAKERS
from tests.strategy import test_conformance

DOCS = Path(__file__).parents[2] / "docs"
NAMES = [name for name in get_args(StrategySpec.model_fields["name"].annotation) if name != "auto"]
CONFORMING = {getattr(suite, "name", None) for suite in vars(test_conformance).values()}


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_that_a_search_file_may_name_has_all_its_parts(name: str) -> None:
    if name != SOUP:
        assert name in _MAKERS, "give it a line in _MAKERS of evomerge/strategy/make.py"
        assert name in CONFORMING, "give it a class in tests/strategy/test_conformance.py"
    for page in ("strategies.md", "search_file.md"):
        text = (DOCS / page).read_text(encoding="utf-8")
        assert f"`{name}`" in text, f"say in docs/{page} what `{name}` is for"
