"""Names of public benchmarks, whose test sets are no fitness functions.

A search that is scored on a benchmark's own test set says nothing about that benchmark afterwards.
The names are those of lm-eval's tasks; variants share a beginning (`mmlu_anatomy`, `gsm8k_cot`).
"""

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
PUBLIC_TESTS = frozenset(_NAMES.split())


def public_test(name: str) -> str | None:
    """The benchmark that lm-eval's task `name` belongs to, or None."""
    parts = name.lower().replace("-", "_").split("_")
    beginnings = ("_".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((name for name in beginnings if name in PUBLIC_TESTS), None)
