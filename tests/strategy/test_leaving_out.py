"""What a controller loads, and what it does not."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from evomerge.strategy.leaving_out import leaving_out


def test_cma_is_loaded_without_matplotlib_and_scipy_stats_which_others_still_get():
    program = (
        "import sys, evomerge.strategy.cma_es; "
        "print([n for n in ('matplotlib', 'scipy.stats') if n in sys.modules]); "
        "import scipy.stats"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_what_is_named_is_left_out_and_only_in_this_thread():
    found = []
    with leaving_out("colorsys"):
        sys.modules.pop("colorsys", None)
        with pytest.raises(ModuleNotFoundError, match="left out"):
            import colorsys
        thread = threading.Thread(target=lambda: found.append(__import__("colorsys")))
        thread.start()
        thread.join()
    import colorsys

    assert found == [colorsys]
