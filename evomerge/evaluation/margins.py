"""How sure a model is of the right choice: two smooth companions of accuracy.

Accuracy of a few hundred documents moves in steps; these move with every change of the weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Gold:
    """How many choices a document has, and the numbers of the right ones."""

    choices: int
    right: tuple[int, ...]


def gold_choices(task: Any, document: Any) -> Gold:
    """The right choices, read as lm-eval's `process_results` reads them."""
    choices = task.doc_to_choice(document)
    gold = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    found = gold if isinstance(gold, list) else [gold]
    numbers = [choices.index(g) if g in choices else -1 for g in found if isinstance(g, str)]
    numbers += [g for g in found if isinstance(g, int)]
    return Gold(len(choices), tuple(n for n in numbers if 0 <= n < len(choices)))


def margin_values(results: Sequence[tuple[float, bool]], gold: Gold) -> dict[str, float | None]:
    """`gold_prob` and `margin` from `(log-likelihood, is_greedy)` of each choice.

    gold_prob: softmax over the choices, summed over the right ones, in [0, 1].
    margin: best right log-likelihood minus best wrong one, in nats.
    """
    lls = [float(result[0]) for result in results[: gold.choices]]
    right = [lls[number] for number in gold.right]
    wrong = [ll for number, ll in enumerate(lls) if number not in gold.right]
    if not right or not wrong:
        return {"gold_prob": None, "margin": None}
    top = max(lls)
    total = sum(math.exp(ll - top) for ll in lls)
    share = sum(math.exp(ll - top) for ll in right) / total
    return {"gold_prob": share, "margin": max(right) - max(wrong)}
