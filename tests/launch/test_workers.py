"""What launches a fleet is read here by the tool that would read it, or run with stand-ins for it."""

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import ValidationError, validate
from ruamel.yaml import YAML

from tests.launch.schemas import NETWORK_POLICY, RAY_CLUSTER, RAY_JOB

ROOT = Path(__file__).parent.parent.parent
WORKERS = ROOT / "workers"
SCRIPTS = sorted([*WORKERS.glob("*.sh"), *WORKERS.glob("*.sbatch"), ROOT / ".ci" / "run"])


def documents(name: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(WORKERS / name))


def test_every_launch_file_is_known_to_these_tests() -> None:
    names = {file.name for file in WORKERS.iterdir()}
    assert names == {"local.sh", "ray_cluster.yaml", "kuberay.yaml", "slurm.sbatch"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_bash_can_read_every_script(script: Path) -> None:
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "set -euo pipefail" in script.read_text(encoding="utf-8")


def test_ray_accepts_the_cluster_file_with_its_own_validator() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents("ray_cluster.yaml")
    prepared = prepare_config(copy.deepcopy(config))
    prepared.setdefault("cluster_synced_files", [])
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"])


def test_ray_refuses_a_misspelt_key_so_the_validator_means_something() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    (config,) = documents("ray_cluster.yaml")
    prepared = prepare_config({**config, "head_start_commands": []})
    with pytest.raises(ValidationError):
        validate_config(prepared)


def pods() -> list[tuple[str, dict[str, Any]]]:
    cluster, job, _ = documents("kuberay.yaml")
    groups = [cluster["spec"]["headGroupSpec"], *cluster["spec"]["workerGroupSpecs"]]
    templates = [(str(g.get("groupName", "head")), g["template"]["spec"]) for g in groups]
    return [*templates, ("submitter", job["spec"]["submitterPodTemplate"]["spec"])]


def test_kuberay_s_objects_have_the_fields_of_its_api_and_no_others() -> None:
    content = documents("kuberay.yaml")
    for document, schema in zip(content, (RAY_CLUSTER, RAY_JOB, NETWORK_POLICY), strict=True):
        validate(document, schema)
    cluster, job, policy = content
    for group in cluster["spec"]["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    label = {"ray.io/cluster": cluster["metadata"]["name"]}
    assert job["spec"]["clusterSelector"] == label
    assert policy["spec"]["podSelector"]["matchLabels"] == label
    assert job["spec"]["submitterPodTemplate"]["metadata"]["labels"] == label


@pytest.mark.parametrize("key", ["workerGroupSpec", "enableInTreeAutoscalling"])
def test_a_misspelt_key_of_kuberay_s_is_found_so_the_schema_means_something(key: str) -> None:
    cluster, *_ = documents("kuberay.yaml")
    cluster["spec"][key] = []
    with pytest.raises(ValidationError, match=key):
        validate(cluster, RAY_CLUSTER)


@pytest.mark.parametrize(
    ("name", "pod"), pods(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_pod_mounts_what_it_declares_and_has_store_and_token(
    name: str, pod: dict[str, Any]
) -> None:
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    mounts = {mount["name"] for one in pod["containers"] for mount in one.get("volumeMounts", [])}
    assert volumes == mounts, name
    for container in pod["containers"]:
        values = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert {"EVOMERGE_STORE", "RAY_AUTH_TOKEN"} <= set(values)
        assert values["RAY_AUTH_MODE"] == "token"


def test_the_job_s_search_file_lies_on_the_head_where_its_command_runs() -> None:
    cluster, job, _ = documents("kuberay.yaml")
    (head,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    mounts = [mount["mountPath"] for mount in head["volumeMounts"]]
    file = job["spec"]["entrypoint"].split()[2]
    assert str(Path(file).parent) in mounts


@pytest.mark.parametrize("name", ["local.sh", "slurm.sbatch", "ray_cluster.yaml"])
def test_every_head_wants_a_token_and_shows_its_dashboard_to_nobody_else(name: str) -> None:
    text = (WORKERS / name).read_text(encoding="utf-8")
    assert "RAY_AUTH_MODE" in text
    assert "RAY_AUTH_TOKEN" in text
    heads = [line for line in text.splitlines() if "--head" in line and not line.startswith("#")]
    assert heads
    closed = ("--include-dashboard=false", "--dashboard-host=127.0.0.1")
    assert all(any(option in line for option in closed) for line in heads)


def test_gpus_are_asked_for_and_limited_alike_as_kubernetes_demands() -> None:
    (gpu,) = [pod for name, pod in pods() if name == "gpu"]
    resources = gpu["containers"][0]["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"]


def test_every_node_runs_the_same_ray() -> None:
    cluster, *_ = documents("kuberay.yaml")
    version = cluster["spec"]["rayVersion"]
    pinned = (ROOT / "requirements" / "cpu.txt").read_text(encoding="utf-8")
    assert f"ray=={version}\n" in pinned
    for file in sorted((ROOT / "docker").glob("*.Dockerfile")):
        assert f"ARG RAY_VERSION={version}\n" in file.read_text(encoding="utf-8"), file.name


def stand_ins(folder: Path, **scripts: str) -> dict[str, str]:
    """An environment whose commands write down how they were called."""
    folder.mkdir()
    for name, body in scripts.items():
        file = folder / name
        file.write_text(f'#!/bin/bash\necho "{name} $*" >>"{folder}/calls"\n{body}\n')
        file.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(("known", "verb"), [(False, "run"), (True, "resume")])
def test_a_slurm_job_starts_a_search_and_a_requeued_one_resumes_it(
    tmp_path: Path, known: bool, verb: str
) -> None:
    environment = stand_ins(
        tmp_path / "bin",
        scontrol="printf 'n1\\nn2\\n'",
        srun='while [[ $1 == --* ]]; do shift; done; exec "$@"',
        ray="true",
        evomerge=f"[[ $1 != status ]] || exit {0 if known else 2}; [[ $1 != {verb} ]] || exit 7",
    )
    environment |= {
        "SLURM_JOB_ID": "41",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_CPUS_PER_TASK": "8",
        "SLURM_GPUS_ON_NODE": "4",
        "EVOMERGE_STORE": "postgresql://u:p@h/d",
    }
    command = ["bash", WORKERS / "slurm.sbatch", "search.yml"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    calls = (tmp_path / "bin" / "calls").read_text().splitlines()
    assert done.returncode == 7, "the job ends with the search's own status"
    assert "evomerge db upgrade" in calls
    assert [c for c in calls if c.startswith(f"evomerge {verb} ") and "--address n1:20041" in c]
    assert [c for c in calls if c.startswith("ray start --head") and "--num-gpus=4" in c]
    assert [c for c in calls if c.startswith("ray start --address=n1:20041")]


def test_a_slurm_job_without_a_shared_store_says_so() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "EVOMERGE_STORE"}
    environment["SLURM_JOB_ID"] = "41"
    command = ["bash", WORKERS / "slurm.sbatch", "search.yml"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "set EVOMERGE_STORE" in done.stderr


def test_slurm_s_directives_are_options_that_sbatch_has() -> None:
    known = {"job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time"}
    known |= {"requeue", "signal"}
    text = (WORKERS / "slurm.sbatch").read_text(encoding="utf-8")
    before_code = text.split("set -euo pipefail")[0].splitlines()
    directives = [line for line in text.splitlines() if line.startswith("#SBATCH ")]
    assert directives == [line for line in before_code if line.startswith("#SBATCH ")]
    names = [line.split("--")[1].split("=")[0] for line in directives]
    assert set(names) <= known
    assert len(names) == len(set(names))


def test_the_local_cluster_starts_wants_its_token_and_ends(tmp_path: Path) -> None:
    from evomerge.dispatch.openness import gcs
    from tests.dispatch.nodes import free_port

    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path),
        "EVOMERGE_RAY_PORT": str(port),
    }
    script = WORKERS / "local.sh"
    start = subprocess.run(
        [script, "start", "1"], env=environment, capture_output=True, text=True, check=False
    )
    try:
        assert start.returncode == 0, start.stderr
        token = tmp_path / "evomerge" / f"ray-{port}.token"
        assert token.stat().st_mode & 0o077 == 0
        assert len(token.read_text()) == 64
        assert f"RAY_AUTH_TOKEN_PATH={token}" in start.stdout
        door = gcs(f"127.0.0.1:{port}")
        assert (door.is_there, door.is_open) == (True, False)
    finally:
        subprocess.run([script, "stop"], env=environment, check=True, capture_output=True)
    assert not token.exists()


def test_the_local_script_explains_itself_and_stops_only_what_it_started(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    script = WORKERS / "local.sh"
    usage = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert (usage.returncode, "usage:" in usage.stderr) == (2, True)
    stop = subprocess.run(
        [script, "stop"], env=environment, capture_output=True, text=True, check=False
    )
    assert (stop.returncode, "no Ray was started here" in stop.stderr) == (1, True)
