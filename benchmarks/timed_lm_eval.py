"""lm-eval's own command line, with the seconds that pass inside `LLM.generate` written to a file.

    python benchmarks/timed_lm_eval.py SECONDS_FILE run --model vllm …

Used by `candidate_overhead.py`: the time inside `generate` counts as forward passes there, although
some of it is scheduling, so that the peer is shown in its best light.
"""

import sys
import time
from pathlib import Path
from typing import Any

from evomerge.evaluation.distributions import answer_for_vllm


def main(report: Path) -> None:
    """Run lm-eval with the remaining arguments."""
    answer_for_vllm()
    import vllm
    from lm_eval.__main__ import cli_evaluate

    generate, spent = vllm.LLM.generate, [0.0]

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return generate(*args, **kwargs)
        finally:
            spent[0] += time.perf_counter() - start

    vllm.LLM.generate = timed  # type: ignore[method-assign]
    cli_evaluate()
    report.write_text(repr(spent[0]))


if __name__ == "__main__":
    path = Path(sys.argv.pop(1))
    main(path)
