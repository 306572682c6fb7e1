"""How often one may ask: token buckets in memory, for each token and for each address."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from evomerge.api.errors import ApiError
from evomerge.api.settings import RateLimits

_KEPT = 10_000


class Buckets:
    """One bucket a key: `burst` at once, `rate` a second. The longest unused keys are forgotten."""

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, float(burst), clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def spend(self, key: str) -> float:
        """Take one; returns 0, or the seconds until there is one again."""
        with self._lock:
            level = self._level(key)
            left = level - 1.0 if level >= 1.0 else level
            self._keep(key, left)
            return 0.0 if level >= 1.0 else (1.0 - level) / self._rate

    def wait(self, key: str) -> float:
        """The seconds until there is one; takes none."""
        with self._lock:
            return max(0.0, (1.0 - self._level(key)) / self._rate)

    def _level(self, key: str) -> float:
        level, at = self._levels.get(key, (self._burst, self._clock()))
        return min(self._burst, level + (self._clock() - at) * self._rate)

    def _keep(self, key: str, level: float) -> None:
        self._levels[key] = (level, self._clock())
        self._levels.move_to_end(key)
        while len(self._levels) > _KEPT:
            self._levels.popitem(last=False)


class Limiter:
    """The buckets of one server. `spend_…` raise ApiError 429 with Retry-After.

    Addresses have ten times what a token has: many people may share one.
    """

    def __init__(self, limits: RateLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._owners = Buckets(limits.rate, limits.burst, clock)
        self._addresses = Buckets(10 * limits.rate, 10 * limits.burst, clock)
        self._failures = Buckets(limits.failures / 60, limits.failures, clock)

    def spend_owner(self, key: str) -> None:
        """One request of a token, or of the local user."""
        _refuse(self._owners.spend(key), "too many requests")

    def spend_address(self, address: str) -> None:
        """One request of an address; refused also after too many wrong credentials from it."""
        _refuse(self._failures.wait(address), "too many wrong tokens")
        _refuse(self._addresses.spend(address), "too many requests")

    def note_failure(self, address: str) -> None:
        """A wrong credential."""
        self._failures.spend(address)


class Streams:
    """How many streams each owner has open. `open` raises ApiError 429 where it is too many."""

    def __init__(self, most: int = 50) -> None:
        self._most, self._open = most, Counter[str]()
        self._lock = threading.Lock()

    def open(self, owner: str) -> None:
        """One more."""
        with self._lock:
            if self._open[owner] >= self._most:
                raise ApiError(
                    429,
                    f"{self._most} streams are open already",
                    remedy="close one",
                    headers={"Retry-After": "10"},
                )
            self._open[owner] += 1

    def close(self, owner: str) -> None:
        """One less."""
        with self._lock:
            self._open[owner] -= 1
            if self._open[owner] <= 0:
                del self._open[owner]


def _refuse(seconds: float, why: str) -> None:
    if seconds > 0:
        wait = max(1, int(seconds + 0.999))
        raise ApiError(429, why, remedy=f"wait {wait} s", headers={"Retry-After": str(wait)})
