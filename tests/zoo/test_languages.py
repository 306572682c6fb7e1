"""Skills in languages: the same words in other letters, and nothing trained that is asked."""

import random

import pytest

from evomerge.zoo.families import FAMILIES, HELD_OUT_SKILLS
from evomerge.zoo.languages import (
    LANGUAGES,
    LENGTH,
    SKILLS,
    SYMBOLS,
    draw_word,
    draw_words,
    is_held_out,
    prompt,
    written,
)
from evomerge.zoo.skills import ALPHABET
from evomerge.zoo.skills import SYMBOLS as REQUESTS


def test_a_language_has_letters_of_its_own_that_the_tokenizer_knows():
    letters = "".join(LANGUAGES.values())
    assert len(set(letters)) == len(letters) == SYMBOLS * len(LANGUAGES)
    assert set(letters) <= set(ALPHABET)


@pytest.mark.parametrize("skill", SKILLS)
def test_a_skill_is_the_same_in_every_language(skill):
    word = (4, 0, 7, 2)
    answers = [written(SKILLS[skill].answer(word), one) for one in LANGUAGES]
    back = [
        [LANGUAGES[one].index(x) for x in text]
        for one, text in zip(LANGUAGES, answers, strict=True)
    ]
    assert all(found == back[0] for found in back)
    assert set(prompt(skill, word, "ah")) <= set(ALPHABET) | set(REQUESTS)


def test_every_request_asks_for_one_skill():
    assert len({skill.request for skill in SKILLS.values()}) == len(SKILLS)


def test_answers_are_worked_out_by_hand():
    word = (3, 1, 8, 5)
    assert SKILLS["reverse"].answer(word) == (5, 8, 1, 3)
    assert SKILLS["rotate"].answer(word) == (8, 5, 3, 1)
    assert SKILLS["swap"].answer(word) == (1, 3, 5, 8)
    assert SKILLS["sort"].answer(word) == (1, 3, 5, 8)
    assert SKILLS["raise"].answer(word) == (4, 2, 0, 6)
    assert SKILLS["ends"].answer(word) == (5, 1, 8, 3)


def test_tasks_and_training_draw_from_two_sides_of_a_fence():
    rng = random.Random(1)
    assert not any(is_held_out(draw_word(rng, held_out=False)) for _ in range(200))
    words = draw_words(300, rng)
    assert len(set(words)) == 300
    assert all(is_held_out(word) and len(set(word)) == LENGTH for word in words)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_fine_tune_of_a_family_is_trained_for_what_is_held_out(name):
    family = FAMILIES[name]
    assert not {pair.skill for pair in family.pairs} & set(HELD_OUT_SKILLS)
    assert len({pair.name for pair in family.pairs}) == len(family.pairs)
    assert {pair.name for pair in family.pairs} < {pair.name for pair in family.tasks}


def test_families_are_known_by_all_that_they_consist_of():
    assert len({family.hash for family in FAMILIES.values()}) == len(FAMILIES)
