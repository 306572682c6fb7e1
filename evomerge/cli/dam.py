"""`dam`: learns the coefficients of a merge."""

from pathlib import Path
from typing import Annotated

import typer

from evomerge.cli.output import note
from evomerge.errors import UsageError


def dam(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="A configuration with merge_method: dam.")
    ],
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="For coefficients, merge.yml and start.yml.")
    ],
    device: Annotated[
        str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, auto.")
    ] = "auto",
    save_every: Annotated[
        int, typer.Option("--save-every", min=1, help="Steps after which the state is put away.")
    ] = 50,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")] = False,
) -> None:
    """Learn a merge's coefficients from the models' own answers; goes on where it was killed."""
    if not config.is_file():
        raise UsageError("no such file", where=str(config), remedy="name a configuration of dam")
    from evomerge.cli.progress import counted
    from evomerge.merging.dam.run import MERGE, learn
    from evomerge.merging.device import choose_device

    place = choose_device(device, "--device")
    if quiet:
        learn(config, folder, device=place, save_every=save_every)
        return
    with counted("learning coefficients") as count:
        learned = learn(
            config,
            folder,
            device=place,
            save_every=save_every,
            report=lambda step, steps, loss: count(step, steps),
            notify=note,
        )
    losses = learned.about["losses"]
    if losses:
        note(f"loss {losses[0]:.4g} → {losses[-1]:.4g} in {len(losses)} steps")
    note(f"merge with: evomerge merge {folder / MERGE} MODEL")
