"""Which documents a candidate still has to answer, and when it is out. numpy alone.

- `plan`: what a race depends on; `blocks`: in which order documents are answered
- `race`: the judgement, on `draws` (what each round says of the lead) and `confidence` (bounds that
  hold at all times)
- `estimate`: the fitness of who was dropped
"""

from evomerge.racing.answers import are_shares
from evomerge.racing.blocks import Layout, divide, layout_of
from evomerge.racing.estimate import estimate_fitness
from evomerge.racing.plan import RacePlan
from evomerge.racing.race import Race, Verdict

__all__ = [
    "Layout",
    "Race",
    "RacePlan",
    "Verdict",
    "are_shares",
    "divide",
    "estimate_fitness",
    "layout_of",
]
