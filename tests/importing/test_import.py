"""A mergekit-evolve configuration becomes a search file that holds everything it can express."""

import io
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from evomerge.cli.exits import run
from evomerge.errors import SpecError, UsageError
from evomerge.importing import import_evolve
from evomerge.layout import layer_of, read_index
from evomerge.merging.mergekit_yaml import load_recipe
from evomerge.recipe import evaluate, position_in_slice
from evomerge.space import Range, SearchSpace
from evomerge.spec import load_spec
from tests.importing.evolve_format import merge_config, parameters_of
from tests.support import LAYERS, write_checkpoint

TASKS = [{"name": "alpha", "weight": 2.0}, "beta", {"name": "gamma", "metric": "f1,none"}]


@pytest.fixture
def models(tmp_path):
    return {name: str(write_checkpoint(tmp_path / name, n)) for n, name in enumerate("bxy")}


def write(folder, genome, **rest):
    file = folder / "evolve.yml"
    with file.open("w") as stream:
        YAML().dump({"genome": genome, "tasks": TASKS, **rest}, stream)
    return file


def imported(folder, genome, **rest):
    """The search of a configuration, read back from the written file."""
    out = folder / "search.yml"
    out.write_text(import_evolve(write(folder, genome, **rest), folder=folder).text)
    return load_spec(out)


def values_at(recipe, parameter, model, index):
    """What a recipe gives a parameter for every tensor, whether it is written in slices or not."""
    found = {}
    for name in index.tensors:
        layer = layer_of(name)
        if recipe.slices:
            size = index.num_layers // len(recipe.slices)
            last = name.startswith(("lm_head", "model.norm"))
            run_ = recipe.slices[-1 if last else 0 if layer is None else layer // size]
            sources, position = run_.sources, 0.0
        else:
            sources = recipe.models
            position = 0.0 if layer is None else position_in_slice(layer, index.num_layers)
        (source,) = [source for source in sources if source.model == model]
        found[name] = evaluate(source.parameters[parameter], name, position)
    return found


METHODS = ("linear", "task_arithmetic", "ties", "dare_ties")
SHAPES = (
    {},
    {"layer_granularity": 2},
    {"layer_granularity": 1, "filters": ["self_attn", "mlp"]},
    {"filters": ["self_attn"]},
    {"allow_negative_weights": True, "normalize": False},
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("method", METHODS)
def test_every_merge_that_a_genome_can_say_is_a_point_of_the_space(method, shape, models, tmp_path):
    base, *experts = models.values()
    genome = {"merge_method": method, "base_model": base, "models": experts, **shape}
    spec = imported(tmp_path, genome)
    index = read_index(Path(base))
    space = SearchSpace(spec.space_spec, spec.base_model, spec.models, index)
    array = draw(genome, seed=len(str(shape)))
    config = merge_config(genome, array, LAYERS)
    theirs = load_recipe(io_of(tmp_path, config))
    ours = space.decode(genome_of(space, theirs, index))
    assert ours.merge_method == method
    for name in parameters_of(method):
        for expert in experts:
            wanted = values_at(theirs, name, expert, index)
            found = values_at(ours, name, expert, index)
            # Six digits, on a grid of a thousandth.
            assert found == pytest.approx(wanted, abs=5.1e-4)
    setting = ours.parameters.get("normalize")
    normalizes = theirs.parameters["normalize"][0].value
    assert (method == "linear" if setting is None else setting[0].value) == normalizes


def draw(genome, seed):
    """An array as CMA-ES might ask for it, inside the space's bounds."""
    groups = LAYERS // genome["layer_granularity"] if genome.get("layer_granularity") else 1
    shape = (groups, len(genome["models"]), len(genome.get("filters") or []) + 1)
    generator = np.random.default_rng(seed)
    low = -0.9 if genome.get("allow_negative_weights") else 0.05
    drawn = generator.uniform(low, 1.4, (*shape, len(parameters_of(genome["merge_method"]))))
    drawn[..., 1:] = generator.uniform(0.1, 1.2, drawn[..., 1:].shape)
    return drawn


def io_of(folder, config):
    file = folder / "merge.yml"
    with file.open("w") as stream:
        YAML().dump(config, stream)
    return file


def genome_of(space, recipe, index):
    """The genes that take each place's value from the other tool's recipe."""
    genome = np.full(space.dimension, 0.5)
    for place, gene in enumerate(space.genes):
        searched = space.spec.values[gene.parameter]
        assert isinstance(searched, Range)
        values = values_at(recipe, gene.parameter, gene.model, index)
        genome[place] = searched.encode(values[tensor_of(gene, space, index)])
    return genome


def tensor_of(gene, space, index):
    """A tensor that the gene decides about."""
    if gene.kind in {"embedding", "head"}:
        return next(n for n in sorted(index.tensors) if n.split(".")[-2] in _OUTER[gene.kind])
    for name in sorted(index.tensors):
        layer = layer_of(name)
        if gene.group is not None and (
            layer is None or layer * space.groups // index.num_layers != gene.group
        ):
            continue
        filters = space.spec.values[gene.parameter].filters
        owner = next((f for f, text in filters.items() if text == "*" or text in name), None)
        if owner == gene.filter:
            return name
    raise AssertionError(gene)


_OUTER = {"embedding": ("embed_tokens",), "head": ("lm_head",)}


def test_a_smooth_genome_is_straight_lines_between_as_many_anchors(models, tmp_path):
    base, *experts = models.values()
    genome = {"merge_method": "ties", "base_model": base, "models": experts}
    spec = imported(tmp_path, {**genome, "layer_granularity": 2, "smooth": True})
    assert (spec.space_spec.layer_groups, spec.space_spec.across_layers) == (2, "linear")
    assert "final norm" in (tmp_path / "search.yml").read_text()


def test_slerp_of_two_models_searches_t_of_each_layer_group(models, tmp_path):
    pair = [models["b"], models["x"]]
    spec = imported(tmp_path, {"merge_method": "slerp", "models": pair, "layer_granularity": 2})
    assert (spec.base_model, spec.models) == (pair[0], (pair[1],))
    t = spec.space_spec.values["t"]
    assert (t.range, t.per, spec.space_spec.layer_groups) == ((0.0, 1.0), ("layer_group",), 2)


def test_an_average_with_the_base_is_a_sum_of_differences_from_it(models, tmp_path):
    names = list(models.values())
    spec = imported(tmp_path, {"merge_method": "linear", "models": names})
    assert (spec.base_model, spec.models) == (names[0], tuple(names[1:]))
    index = read_index(Path(names[0]))
    space = SearchSpace(spec.space_spec, spec.base_model, spec.models, index)
    # An average 1 : 2 : 5 is base + 2/8 of one difference and 5/8 of the other.
    recipe = space.decode(np.array([0.25, 0.625]))
    assert recipe.merge_method == "task_arithmetic"
    found = [source.parameters["weight"][0].value for source in recipe.sources()]
    assert found == pytest.approx([0.25, 0.625])
    assert recipe.parameters["normalize"][0].value is False


def test_tasks_and_how_they_are_asked_are_carried_over(models, tmp_path):
    genome = {
        "merge_method": "linear",
        "base_model": models["b"],
        "models": [models["x"], models["y"]],
    }
    spec = imported(tmp_path, genome, limit=50, num_fewshot=3, apply_chat_template=False)
    tasks = [(task.task, task.metric, task.weight) for task in spec.objective.tasks]
    assert tasks == [("alpha", "acc", 2.0), ("beta", "acc", 1.0), ("gamma", "f1", 1.0)]
    objective = spec.objective
    assert (objective.limit, objective.num_fewshot) == (50, 3)
    assert (objective.apply_chat_template, spec.out_dtype) == (False, "bfloat16")
    assert imported(tmp_path, genome).objective.apply_chat_template is True


def test_its_first_step_is_the_same(models, tmp_path):
    genome = {
        "merge_method": "linear",
        "base_model": models["b"],
        "models": [models["x"], models["y"]],
    }
    spec = imported(tmp_path, genome)
    low, high = spec.space_spec.values["weight"].range
    assert spec.strategy.sigma0 * (high - low) == pytest.approx(1 / 6, rel=0.01)
    assert (spec.strategy.name, spec.budget.candidates) == ("cma", 100)


def test_benchmarks_are_accepted_aloud(models, tmp_path):
    genome = {
        "merge_method": "linear",
        "base_model": models["b"],
        "models": [models["x"], models["y"]],
    }
    file = write(tmp_path, genome)
    assert "accept_benchmark_tests" not in import_evolve(file).text
    file.write_text(file.read_text().replace("beta", "gsm8k"))
    assert "accept_benchmark_tests: true" in import_evolve(file).text


def test_what_has_no_counterpart_is_named_with_its_line(models, tmp_path):
    genome = {
        "merge_method": "dare_ties",
        "base_model": models["b"],
        "models": [models["x"], models["y"]],
        "tokenizer_source": "union",
        "int8_mask": True,
    }
    file = write(tmp_path, genome, shuffle=True, random_init=True, fewshot_as_multiturn=False)
    text, found = file.read_text().splitlines(), import_evolve(file).without_counterpart
    for key in ("tokenizer_source", "int8_mask", "shuffle", "random_init", "fewshot_as_multiturn"):
        line = next(n for n, row in enumerate(text, start=1) if row.strip().startswith(key))
        assert any(f"evolve.yml:{line}: " in one and key in one for one in found), key
    assert any("masks" in one for one in found)


def test_models_with_revisions_and_adapters_keep_them(tmp_path):
    model = {"model": {"path": "org/x", "revision": "abc"}, "lora": "org/lora"}
    genome = {"merge_method": "ties", "base_model": "org/base", "models": ["org/y", model]}
    text = import_evolve(write(tmp_path, genome)).text
    assert "- org/x@abc+org/lora" in text


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"merge_method": "della"}, "merge_method", "no genome for 'della'"),
        ({"base_model": None}, "base_model", "needs a base_model"),
        ({"merge_method": "slerp", "models": ["a", "b", "c"]}, "models", "no counterpart"),
        ({"merge_method": "slerp", "smooth": True}, "smooth", "neither smooth nor filters"),
        ({"layer_granularity": 3}, "layer_granularity", "cannot be divided"),
        ({"models": ["only"]}, "models", "at least 2"),
    ],
)
def test_what_cannot_be_imported_is_refused_at_its_line(change, key, said, models, tmp_path):
    genome = {
        "merge_method": "ties",
        "base_model": models["b"],
        "models": [models["x"], models["y"]],
    }
    file = write(tmp_path, {**genome, **change})
    with pytest.raises(UsageError) as caught:
        import_evolve(file)
    line = next(n for n, row in enumerate(file.read_text().splitlines(), 1) if key in row)
    assert f"evolve.yml:{line}: genome.{key}" in str(caught.value)
    assert said in str(caught.value)


def test_groups_of_unknown_models_need_their_number_of_layers(tmp_path):
    genome = {"merge_method": "ties", "base_model": "org/b", "models": ["org/x", "org/y"]}
    file = write(tmp_path, {**genome, "layer_granularity": 8})
    with pytest.raises(SpecError, match="--layers"):
        import_evolve(file)
    assert "layer_groups: 4" in import_evolve(file, num_layers=32).text


@pytest.mark.parametrize("text", ["merge_method: linear\nmodels: []\n", "[1]\n", "a: [\n"])
def test_other_files_are_refused_in_words(text, tmp_path):
    file = tmp_path / "other.yml"
    file.write_text(text)
    with pytest.raises(SpecError):
        import_evolve(file)


def test_the_command_writes_a_file_once_and_a_search_runs_from_it(models, tmp_path, capsys):
    genome = {
        "merge_method": "ties",
        "base_model": models["b"],
        "models": [models["x"], models["y"]],
    }
    file, out = str(write(tmp_path, genome, shuffle=True)), tmp_path / "search.yml"
    assert run(["import", file, "-o", str(out), "--candidates", "8"]) == 0
    assert "no counterpart" in capsys.readouterr().err
    assert run(["import", file, "-o", str(out)]) == 2
    assert run(["import", file, "-o", str(out), "--force", "--candidates", "8"]) == 0
    with out.open("a") as stream:
        stream.write("engine: {name: fake}\n")
    store = str(tmp_path / "store.db")
    assert run(["run", str(out), "--inline", "--store", store]) == 0
    capsys.readouterr()
    assert run(["import", file]) == 0
    spec = YAML(typ="safe").load(io.StringIO(capsys.readouterr().out))
    assert spec["space"]["method"] == "ties"
