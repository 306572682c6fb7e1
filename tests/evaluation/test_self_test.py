"""An engine that ignores a merge, or keeps part of the last one, is found before it scores anything."""

import pytest

from evomerge.errors import EngineError
from evomerge.evaluation.models import base_only, model_folders
from evomerge.evaluation.self_test import check_engine
from tests.evaluation.conftest import make_spec

pytestmark = pytest.mark.engine


class Faulty:
    """The shared engine behind a fault in how it takes weights."""

    def __init__(self, evaluator, apply, fingerprint=None):
        self.wrapper, self.dtype = evaluator.wrapper, evaluator.dtype
        self.apply, self.find_places = apply, evaluator.find_places
        self.fingerprint = fingerprint or evaluator.fingerprint


@pytest.fixture
def spec(evaluator, models, task_folder):
    evaluator.apply(base_only(models["base"]))
    return make_spec(models, task_folder)


def test_a_sound_engine_passes(evaluator, spec):
    check_engine(evaluator, spec, model_folders(spec))


def test_weights_that_never_arrive_are_found(evaluator, spec):
    with pytest.raises(EngineError, match="away from transformers"):
        check_engine(Faulty(evaluator, lambda recipe: (0.0, 0.0)), spec, model_folders(spec))


def test_weights_that_arrive_and_are_not_computed_with_are_found(evaluator, spec):
    fingerprints = iter(["base", "base", "expert", "base"])
    faulty = Faulty(evaluator, lambda recipe: (0.0, 0.0), lambda: next(fingerprints))
    with pytest.raises(EngineError, match="changes no answer"):
        check_engine(faulty, spec, model_folders(spec))


def test_weights_that_stay_behind_are_found(evaluator, spec):
    def only_forth(recipe):
        known = recipe == base_only(spec.base_model) and evaluator.fingerprint() != started
        return (0.0, 0.0) if known else evaluator.apply(recipe)

    started = evaluator.fingerprint()
    with pytest.raises(EngineError, match="left other weights behind"):
        check_engine(Faulty(evaluator, only_forth), spec, model_folders(spec))
