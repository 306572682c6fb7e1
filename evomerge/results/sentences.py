"""What a search found, in sentences that claim no more than the figures show."""

from collections.abc import Mapping

from evomerge.bootstrap import Estimate
from evomerge.fitness import Split
from evomerge.results.types import Front, Optimism, Results


def verdict_sentence(results: Results) -> str:
    """Whether, and by how much, the winner beat the best trivial merge."""
    winner, best = results.winner, results.best_baseline
    if winner is None:
        return "No candidate of the search has been scored."
    if best is None or best.lead is None:
        return f"The winner is {winner.label}; there is no baseline to compare it with."
    lead, amount = best.lead, f"{abs(best.lead.value):.4f}"
    if winner.violation > 0 and best.violation == 0:
        verdict = (
            f"found nothing that keeps every constraint, as {best.label} does: it is no winner"
        )
    elif lead.low is not None and lead.low > 0:
        verdict = f"beat the best trivial merge ({best.label}) by {amount}"
    elif lead.value > 0:
        verdict = (
            f"came out {amount} above the best trivial merge ({best.label}), which may be chance"
        )
    elif lead.value == 0:
        verdict = f"only equalled the best trivial merge ({best.label})"
    else:
        verdict = f"did not beat the best trivial merge: {best.label} is {amount} better"
    what = f" in {results.climbed}" if results.climbed else ""
    pairing = "paired" if best.paired else "unpaired"
    where = _documents(results.documents, results.split)
    return f"The search {verdict}{what} on {where} ({_interval(lead, pairing)})."


def front_sentence(front: Front) -> str:
    """Whether, and by how much, the front reaches beyond the trivial merges."""
    count = "1 merge" if len(front.members) == 1 else f"{len(front.members)} merges"
    gain = front.gain
    if gain.low is not None and gain.low > 0:
        verdict = "reaches beyond the trivial merges"
    elif gain.value > 0:
        verdict = "came out beyond the trivial merges, which may be chance"
    else:
        verdict = "does not reach beyond the trivial merges"
    sizes = f"hypervolume {front.hypervolume:.4g} against {front.baseline_hypervolume:.4g}"
    climbed = ", which the search climbed" if front.split is Split.SEARCH else ""
    return (
        f"The front of {count} {verdict} on {_documents(front.documents, front.split)}{climbed}: "
        f"{sizes} ({_interval(gain, 'of the difference')})."
    )


def optimism_sentence(optimism: Optimism) -> str:
    """How far the search score can be trusted."""
    said = []
    if optimism.test is not None and optimism.gap is not None:
        gap = optimism.gap
        amount = f"{abs(gap.value):.4f} {'less' if gap.value >= 0 else 'more'}"
        said.append(
            f"The winner scored {optimism.search:.4f} on the search documents and "
            f"{optimism.test:.4f} on the test documents, {amount} "
            f"({_interval(gap, 'of search minus test')})."
        )
    if optimism.expected is not None:
        said.append(
            f"The best search score of {optimism.candidates} candidates on {optimism.documents} "
            f"documents is expected to be {optimism.expected:.4f} too high from the choice alone."
        )
    return " ".join(said)


def _documents(counts: Mapping[str, int], split: Split) -> str:
    return f"{sum(counts.values())} {split.value} documents"


def _interval(estimate: Estimate, what: str) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval known"
    return f"95 % interval {estimate.low:+.4f} to {estimate.high:+.4f}, {what}"
