"""Models come to a node once, whole and verified, whatever happens on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evomerge import staging
from evomerge.errors import CheckpointError, ResourceError
from evomerge.staging import content_of, on_network, stage, stage_models
from tests.support import fake_spec, write_checkpoint

COPIER = """
import sys, time
from pathlib import Path
from evomerge import staging
source, print_, root, notes, seconds = sys.argv[1:]
copy = staging.shutil.copyfile
def slow_copy(*paths):
    with open(notes, "a") as stream:
        stream.write("copied\\n")
    time.sleep(float(seconds))
    return copy(*paths)
staging.shutil.copyfile = slow_copy
print(staging.stage(Path(source), print_, Path(root)))
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", 1)


def copier(model: Path, folder: Path, seconds: float = 0.2) -> subprocess.Popen[str]:
    arguments = [
        str(model),
        content_of(model),
        str(folder),
        str(folder.parent / "notes"),
        str(seconds),
    ]
    return subprocess.Popen(
        [sys.executable, "-c", COPIER, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_processes_that_come_at_once_copy_once_and_all_get_the_copy(model, tmp_path):
    crowd = [copier(model, tmp_path / "node") for _ in range(4)]
    found = {process.communicate(timeout=60)[0].strip() for process in crowd}
    assert found == {str(tmp_path / "node" / content_of(model))}
    files = sum(file.is_file() for file in model.iterdir())
    assert (tmp_path / "notes").read_text().count("copied") == files


def test_a_process_that_is_killed_while_it_copies_leaves_no_model_behind(model, tmp_path):
    victim = copier(model, tmp_path / "node", seconds=30)
    target = tmp_path / "node" / content_of(model)
    while not (tmp_path / "notes").is_file():
        time.sleep(0.05)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    assert not target.exists()
    assert stage(model, target.name, tmp_path / "node") == target
    assert content_of(target) == target.name
    assert [entry for entry in target.parent.iterdir() if ".part" in entry.name] == []


def test_another_model_than_the_one_that_was_submitted_is_refused(model, tmp_path):
    with pytest.raises(CheckpointError, match="not the model"):
        stage(model, "0" * 16, tmp_path / "node")
    assert [entry for entry in (tmp_path / "node").iterdir() if entry.is_dir()] == []


def test_a_disk_without_room_is_an_error_with_a_remedy(model, tmp_path, monkeypatch):
    monkeypatch.setattr(staging, "_SPARE_BYTES", 1 << 60)
    with pytest.raises(ResourceError, match=r"does not fit(.|\n)*EVOMERGE_MODELS"):
        stage(model, content_of(model), tmp_path / "node")


def test_where_the_disk_is_short_copies_that_nobody_reads_go_first_the_oldest(
    model, tmp_path, monkeypatch
):
    home = tmp_path / "node"
    for age, name in enumerate(("aaaa", "bbbb", "cccc"), start=1):
        shutil.copytree(model, home / name)
        os.utime(home / name, (0, 1000 - age))
    in_use = home / "cccc"
    reader = staging._hold(in_use)
    free = iter([0, 0, 1 << 40])
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        staging.shutil, "disk_usage", lambda _: usage._replace(free=next(free, 1 << 40))
    )
    stage(model, content_of(model), home)
    left = {entry.name for entry in home.iterdir() if entry.is_dir()}
    assert reader
    assert left == {"cccc", "aaaa", content_of(model)}


def test_folders_on_network_file_systems_are_known_by_the_longest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        f"disk / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n"
        f"disk {tmp_path}/scratch xfs rw 0 0\ncloud {tmp_path}/bucket fuse.s3fs rw 0 0\n"
    )
    wanted = {"models": True, "scratch/models": False, "bucket/models": True}
    assert {name: on_network(tmp_path / name, mounts) for name in wanted} == wanted
    assert not on_network(Path("/usr"), mounts)


def test_models_on_the_nodes_own_disk_are_read_where_they_lie(tmp_path):
    spec = fake_spec(tmp_path)
    found = stage_models(spec, {spec.base_model: content_of(Path(spec.base_model))})
    assert found == {name: Path(name) for name in (spec.base_model, *spec.models)}
    with pytest.raises(CheckpointError, match="not the model"):
        stage_models(spec, {spec.base_model: "0" * 16})
