"""The contract between controller and workers: tasks out, news of them back."""

from typing import Protocol

from evomerge.worker import Done, Task


class Dispatcher(Protocol):
    """Runs tasks on workers. A task's result is in the store before its `Done` is reported."""

    @property
    def slots(self) -> int:
        """Tasks that can run at once."""
        ...

    @property
    def next_worker(self) -> str:
        """Which worker the next task goes to, for people; asked only where one is free."""
        ...

    def start(self) -> dict[str, str]:
        """Start the workers; returns the versions of what scores, nothing where that is not known yet.
        Raises what the engine raises; of a worker that takes longer, `wait` raises it."""
        ...

    def resize(self, workers: int | None) -> None:
        """Have so many workers from now on; None: as many as the search's file says. Those that are
        too many finish what they are doing."""
        ...

    def submit(self, task: Task) -> None:
        """Hand a task to a free worker; never called with more tasks under way than `slots`."""
        ...

    def wait(self, seconds: float) -> list[Done]:
        """Tasks that ended, at most `seconds` later; a lost worker's task ends with an error."""
        ...

    def close(self) -> None:
        """Stop the workers; tasks under way are abandoned."""
        ...
