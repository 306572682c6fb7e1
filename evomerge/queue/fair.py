"""Whose search starts next, and how many workers each gets: pure functions of the queue's state.

Fair share as batch systems know it (Slurm's multifactor plugin, HTCondor's user priorities): what an
owner used decays with a half-life, and the one who used least for the weight that is due goes first. A
search that runs counts as an hour of its workers on top of what they did, so that an owner who comes
with ten searches does not get all places before any of them has used anything. Among the searches of
one owner priority decides, then who came first. Workers are given one by one to the owner who has the
fewest for the weight (weighted max-min fairness), and among the owner's searches to the one that has
the fewest.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from evomerge.queue.settings import QueueSettings
from evomerge.store.access import Decision, OwnerLimits, OwnerRecord, QueueEntry, QueueState
from evomerge.store.types import SearchStatus

HALF_LIFE = 24 * 3600.0
"""Seconds after which use counts half."""
PLEDGE = 3600.0
"""Seconds that a running search is taken to have worked already."""
_LONGEST_STEP = 60.0
_STARTABLE = (SearchStatus.PENDING, SearchStatus.RUNNING)
_STOPPED = (SearchStatus.PAUSED, SearchStatus.FAILED)
_WISHES = {
    SearchStatus.PAUSING: SearchStatus.PAUSED,
    SearchStatus.CANCELLING: SearchStatus.CANCELLED,
}


def decide(state: QueueState, settings: QueueSettings) -> Decision:
    """What the scheduler does now; the same state gives the same decision in every server."""
    used = {name: use(owner, state) for name, owner in state.owners.items()}
    claims = choose(state, used, settings)
    active = [e for e in state.entries if e.active or e.search_id in claims]
    return Decision(
        claims=claims,
        workers=_changed(active, share_out(active, state.owners, settings.workers)),
        used=used,
        settled={
            e.search_id: _WISHES[e.status]
            for e in state.entries
            if not e.active and e.status in _WISHES
        },
        dismissed=tuple(
            e.search_id for e in state.entries if e.wanted and not e.active and e.status in _STOPPED
        ),
    )


def use(owner: OwnerRecord, state: QueueState) -> float:
    """An owner's use as of now, in worker seconds: what decayed, and what was worked since.

    A long silence (no server was there) is charged for a minute: nobody knows what ran in it.
    """
    passed = max(0.0, state.now - owner.used_at)
    busy = sum(e.workers or 1 for e in state.entries if e.active and e.owner == owner.name)
    decayed = owner.used * math.exp2(-passed / HALF_LIFE)
    return decayed + busy * min(passed, _LONGEST_STEP)


def choose(
    state: QueueState, used: Mapping[str, float], settings: QueueSettings
) -> tuple[str, ...]:
    """The searches that start now, in this order."""
    places = min(settings.running, settings.workers or settings.running)
    running: defaultdict[str, list[QueueEntry]] = defaultdict(list)
    for entry in state.entries:
        if entry.active:
            running[entry.owner].append(entry)
    waiting = _waiting(state)
    chosen: list[str] = []
    for _ in range(places - sum(map(len, running.values()))):
        ready = [
            name
            for name, entries in waiting.items()
            if entries and _may_start(state.owners[name].limits, len(running[name]), used[name])
        ]
        if not ready:
            break
        first = min(ready, key=lambda name: _rank(state.owners[name], used[name], running[name]))
        entry = waiting[first].pop(0)
        running[first].append(entry)
        chosen.append(entry.search_id)
    return tuple(chosen)


def share_out(
    active: Sequence[QueueEntry], owners: Mapping[str, OwnerRecord], capacity: int | None
) -> dict[str, int]:
    """How many of `capacity` workers each search gets: one at least, what it asks for at most."""
    given = {entry.search_id: 1 for entry in active}
    demand = {name: _demand(rows, owners[name].limits) for name, rows in _by_owner(active).items()}
    totals = {name: len(rows) for name, rows in _by_owner(active).items()}
    left = sum(demand.values()) if capacity is None else capacity
    left -= len(active)
    waiting = [(_price(totals[n], owners[n]), n) for n in sorted(demand) if totals[n] < demand[n]]
    heapq.heapify(waiting)
    while left > 0 and waiting:
        _, name = heapq.heappop(waiting)
        _give(given, [entry for entry in active if entry.owner == name])
        totals[name] += 1
        left -= 1
        if totals[name] < demand[name]:
            heapq.heappush(waiting, (_price(totals[name], owners[name]), name))
    return given


def _price(workers: int, owner: OwnerRecord) -> float:
    """What one worker more would make of an owner's workers for the weight."""
    return (workers + 1) / owner.weight


def _give(given: dict[str, int], entries: Iterable[QueueEntry]) -> None:
    """One worker more, to the search that has the fewest of what it asks for."""
    open_ones = [entry for entry in entries if given[entry.search_id] < entry.asked]
    fewest = min(open_ones, key=lambda e: (given[e.search_id], -e.priority, e.submitted_at))
    given[fewest.search_id] += 1


def _demand(entries: Sequence[QueueEntry], limits: OwnerLimits) -> int:
    wanted = sum(entry.asked for entry in entries)
    return max(len(entries), min(wanted, limits.workers or wanted))


def _by_owner(entries: Iterable[QueueEntry]) -> dict[str, list[QueueEntry]]:
    found: defaultdict[str, list[QueueEntry]] = defaultdict(list)
    for entry in entries:
        found[entry.owner].append(entry)
    return dict(found)


def _waiting(state: QueueState) -> dict[str, list[QueueEntry]]:
    """What could start, by owner: the highest priority first, then what ran before, then the oldest."""
    ready = [
        entry
        for entry in state.entries
        if entry.wanted
        and not entry.active
        and entry.status in _STARTABLE
        and (entry.retry_at is None or entry.retry_at <= state.now)
    ]
    ready.sort(key=_place)
    return _by_owner(ready)


def _place(entry: QueueEntry) -> tuple[int, bool, float, str]:
    fresh = entry.status is SearchStatus.PENDING
    return (-entry.priority, fresh, entry.submitted_at, entry.search_id)


def _may_start(limits: OwnerLimits, running: int, used: float) -> bool:
    """Whether an owner's limits leave room; every search has one worker at least."""
    most = [limit for limit in (limits.running, limits.workers) if limit is not None]
    within = limits.hours is None or used < limits.hours * 3600
    return within and all(running < limit for limit in most)


def _rank(owner: OwnerRecord, used: float, running: Sequence[QueueEntry]) -> tuple[float, str]:
    pledged = PLEDGE * sum(entry.workers or entry.asked for entry in running)
    return ((used + pledged) / owner.weight, owner.name)


def _changed(active: Sequence[QueueEntry], shares: Mapping[str, int]) -> dict[str, int]:
    return {
        entry.search_id: shares[entry.search_id]
        for entry in active
        if entry.workers != shares[entry.search_id]
    }
