"""The guardian of a local Ray ends what the driver leaves behind, and never the driver itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

SLOW_TO_END = """
import sys, time
from pathlib import Path
from evomerge.dispatch import guardian
guardian._GRACE_SECONDS = 0.0
folder = guardian.guarded_folder(Path(sys.argv[1]))
kept_open = (folder / "driver.log").open("w")
print(folder, flush=True)
for one in guardian._guardians:
    one.stdin.close()  # as the end of an interpreter does, long before the process is gone
time.sleep(5.0)
"""


def test_a_driver_that_takes_its_time_to_end_is_not_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLOW_TO_END, str(tmp_path)]
    driver = subprocess.run(command, check=False, timeout=60)
    assert driver.returncode == 0


def test_what_a_driver_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    leave = SLOW_TO_END.replace(
        "time.sleep(5.0)",
        "import subprocess\n"
        "left = subprocess.Popen(['sleep', '300'], stdout=kept_open)\n"
        "print(left.pid, flush=True)",
    )
    done = subprocess.run(
        [sys.executable, "-c", leave, str(tmp_path)], capture_output=True, text=True, check=True
    )
    left = Path("/proc") / done.stdout.splitlines()[-1]
    deadline = time.monotonic() + 20
    while left.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left.exists()
