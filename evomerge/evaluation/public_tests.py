"""Public benchmarks, whose test sets are no fitness functions.

A search that is scored on a benchmark's own test set says nothing about that benchmark afterwards. All
of lm-eval's own tasks are published benchmarks. A task file of one's own may read the documents of one
under another name: it is known by its dataset, if that is a well-known one. Training documents of a
benchmark are nobody's test.

The names are those of lm-eval's tasks; variants share a beginning (`mmlu_anatomy`, `gsm8k_cot`).
"""

from collections.abc import Collection

_NAMES = """
acp aexams agieval aime anli arabicmmlu arc arithmetic asdiv babi basqueglue bbh belebele bbq
bigbench blimp boolq cb ceval cmmlu cnn commonsense coqa copa copal crows csatqa drop eq_bench
fda fld global_mmlu glue cola mnli mrpc qnli qqp rte sst2 wnli gpqa gsm8k gsm gsm_plus haerae
headqa hellaswag hendrycks_ethics hendrycks_math histoires humaneval ifeval include inverse
jsonschema_bench kmmlu kobest kormedmcqa lambada leaderboard lm_syneval logiqa logiqa2 longbench
math_word_problems mathqa mbpp mc_taco med_concepts medmcqa medqa mela mgsm minerva_math mlqa
mmlu mmlu_pro mmmu mutual nq_open okapi openbookqa openllm paws piqa polemo2 prost pubmedqa
qa4mre qasper race realtoxicityprompts ruler score scrolls siqa social_iqa sciq squad
squadv2 squad_completion storycloze super_glue swag swde tinybenchmarks tmmluplus toxigen
translation triviaqa truthfulqa turkishmmlu unscramble webqs wic wikitext winogender winogrande
wmdp wsc wsc273 xcopa xnli xquad xstorycloze xwinograd
"""
_DATASETS = """
ai2_arc aime aime24 aime25 aime_2024 aime_2025 c_eval cosmos_qa drop_mc hendrycks_test
hendrycks_ethics human_eval humanevalplus math500 math_500 mbppplus mmmlu mmlu_redux mmlusr
multi_lexnorm openai_humaneval openai_mmmlu paws_x quac race_hard social_i_qa story_cloze trivia_qa
truthful_qa tydiqa web_questions wiki_text winogrande_xl wino_bias xlsum
"""
PUBLIC_TESTS = frozenset(_NAMES.split())
"""Beginnings of names of lm-eval's tasks."""
_KNOWN = PUBLIC_TESTS | frozenset(_DATASETS.split())


def public_test(name: str) -> str | None:
    """The benchmark that lm-eval's task `name` belongs to, or None."""
    return _beginning(name, PUBLIC_TESTS)


def public_dataset(path: str, split: str | None) -> str | None:
    """The benchmark whose documents the hub's dataset `path` holds in `split`, or None.

    Folders and lm-eval's loaders of local files (`json`, `csv`, …) are nobody's.
    """
    if (
        path.count("/") != 1
        or path.startswith((".", "/", "~"))
        or (split or "").startswith("train")
    ):
        return None
    return _beginning(path.partition("/")[2], _KNOWN)


def _beginning(name: str, known: Collection[str]) -> str | None:
    parts = name.lower().replace("-", "_").split("_")
    beginnings = ("_".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((name for name in beginnings if name in known), None)
