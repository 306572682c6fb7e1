"""What `doctor` says of Ray: open to anybody or not, and whether it answers at all."""

from collections.abc import Iterator

from evomerge.cli.doctor_finding import Finding

_REMEDY = (
    "start Ray with RAY_AUTH_MODE=token and a RAY_AUTH_TOKEN, as all files in workers/ and docker/ do, "
    "and its dashboard with --dashboard-host=127.0.0.1"
)


def examine_ray(address: str | None) -> Iterator[Finding]:
    """A line for each way into a cluster; a problem where anybody gets in, or where a cluster that
    was named does not answer."""
    try:
        from evomerge.dispatch.openness import doors
    except ImportError:
        return
    for door in doors(address):
        if door.is_open:
            found = f"{door.where} lets anybody in, to run code on every node"
            yield Finding(door.what, "problem", found, _REMEDY)
        elif door.is_there:
            yield Finding(door.what, "OK", f"{door.where} asks for a token")
        elif door.where == address:
            found = f"nothing answers at {door.where}"
            yield Finding(door.what, "problem", found, "start the cluster, or mend --address")
