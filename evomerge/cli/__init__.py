"""The command line: thin commands over `evomerge.service`, `results`, `report` and `export`.

Results go to stdout, everything else to stderr. Heavy imports happen inside commands, so that
`evomerge --help` is quick and loads neither torch, ray nor vllm.
"""

import signal
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point `evomerge`; ends the process with the command's exit code."""
    from evomerge.cli.exits import run

    code = run(list(sys.argv[1:] if arguments is None else arguments))
    # All is said and done: an impatient Ctrl-C must not strike while Ray and engines shut down.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.exit(code)
