"""How a server runs searches."""

from pydantic import Field

from evomerge.recipe import Frozen


class QueueSettings(Frozen):
    """What is shared out, and where it is.

    running: searches at a time. workers: of all of them together; None: as many as each asks for.
    address: a Ray cluster, on which controllers live; None: they are processes of this machine.
    inline: each search with one worker in its controller's process, without Ray. attempts: how often a
    controller is started again that dies without getting its search any further. poll: seconds
    between two looks at the queue.
    """

    running: int = Field(4, gt=0)
    workers: int | None = Field(None, gt=0)
    address: str | None = None
    inline: bool = False
    attempts: int = Field(5, gt=0)
    poll: float = Field(1.0, gt=0)
