"""Searches and leases."""

import subprocess
import sys
import time

import pytest

from evomerge.errors import LeaseLostError, NotFoundError, StoreError
from evomerge.fitness import Split
from evomerge.store import Store, make_owner
from evomerge.store.types import SearchStatus
from evomerge.testing.store_conformance.samples import hold, make_candidate, make_spec


class SearchTests:
    """Searches are found again as they were submitted."""

    def test_a_new_search_is_pending_and_keeps_file_scope_and_versions(self, store: Store) -> None:
        spec = make_spec()
        made = store.create_search(spec, scope="s", versions={"torch": "2", "alpha": "1"})
        found = store.search(made.id)
        assert found == made
        assert (found.spec, found.scope, found.status) == (spec, "s", SearchStatus.PENDING)
        assert dict(found.versions) == {"torch": "2", "alpha": "1"}

    def test_the_order_of_models_and_parameters_survives_as_genomes_depend_on_it(
        self, store: Store
    ) -> None:
        spec = store.search(store.create_search(make_spec(), scope="", versions={}).id).spec
        assert spec.models == ("org/b", "org/a")
        assert list(spec.space_spec.parameters) == ["weight", "density"]

    def test_a_search_is_found_by_id_by_a_unique_prefix_and_by_a_unique_name(
        self, store: Store
    ) -> None:
        first = store.create_search(make_spec(name="one"), scope="", versions={}, search_id="ab-1")
        store.create_search(make_spec(name="two"), scope="", versions={}, search_id="ab-2")
        store.create_search(make_spec(name="two"), scope="", versions={}, search_id="ac-3")
        assert store.search("ab-1") == store.search("one") == first
        assert store.search("ac").id == "ac-3"
        for ambiguous in ("ab", "two"):
            with pytest.raises(NotFoundError, match="several"):
                store.search(ambiguous)
        with pytest.raises(NotFoundError, match="did you mean 'ab-1'"):
            store.search("ab1")

    def test_an_id_that_is_taken_is_refused(self, store: Store) -> None:
        store.create_search(make_spec(), scope="", versions={}, search_id="x")
        with pytest.raises(StoreError, match="already"):
            store.create_search(make_spec(), scope="", versions={}, search_id="x")

    def test_searches_come_newest_first(self, store: Store) -> None:
        made = []
        for _ in range(3):
            made.append(store.create_search(make_spec(), scope="", versions={}).id)
            time.sleep(0.01)
        assert [search.id for search in store.searches()] == made[::-1]

    def test_a_status_changes_only_from_the_ones_named(self, store: Store) -> None:
        search = store.create_search(make_spec(), scope="", versions={})
        assert store.set_status(search.id, SearchStatus.RUNNING)
        pending = [SearchStatus.PENDING]
        assert not store.set_status(search.id, SearchStatus.FAILED, only_from=pending)
        running = [SearchStatus.RUNNING, SearchStatus.PAUSED]
        message = "stopped\0 by \ud800 hand"
        assert store.set_status(search.id, SearchStatus.PAUSED, only_from=running, message=message)
        found = store.search(search.id)
        assert found.status is SearchStatus.PAUSED
        assert found.message == "stopped\ufffd by ? hand"
        with pytest.raises(NotFoundError):
            store.set_status("nobody", SearchStatus.RUNNING)


class LeaseTests:
    """One controller a search."""

    def test_a_held_lease_is_refused_to_others_and_says_who_has_it(self, store: Store) -> None:
        held = hold(store)
        store.acquire_lease(held.id, held.owner, 60)
        with pytest.raises(LeaseLostError, match=held.owner):
            store.acquire_lease(held.id, make_owner(), 60)

    def test_a_released_lease_is_free_but_only_its_holder_releases_it(self, store: Store) -> None:
        held, other = hold(store), make_owner()
        store.release_lease(held.id, other)
        with pytest.raises(LeaseLostError):
            store.acquire_lease(held.id, other, 60)
        store.release_lease(held.id, held.owner)
        store.acquire_lease(held.id, other, 60)

    def test_a_lease_that_another_had_in_between_cannot_be_renewed(self, store: Store) -> None:
        held = hold(store)
        store.renew_lease(held.id, held.owner, 0.0)
        store.renew_lease(held.id, held.owner, 0.0)  # it ran out, and nobody took it
        other = make_owner()
        store.acquire_lease(held.id, other, 60)
        store.release_lease(held.id, other)
        with pytest.raises(LeaseLostError, match="held by nobody"):
            store.renew_lease(held.id, held.owner, 60)

    def test_a_lease_runs_out_by_the_clock_of_the_database(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held, other = hold(store), make_owner()
        next_year = time.time() + 3e7
        monkeypatch.setattr(time, "time", lambda: next_year)
        with pytest.raises(LeaseLostError):
            store.acquire_lease(held.id, other, 60)
        store.acquire_lease(held.id, held.owner, 0.2)
        time.sleep(0.4)
        store.acquire_lease(held.id, other, 60)
        with pytest.raises(LeaseLostError):
            store.acquire_lease(held.id, held.owner, 60)

    def test_the_lease_of_a_process_that_is_gone_is_free_at_once(self, store: Store) -> None:
        held = hold(store)
        store.release_lease(held.id, held.owner)
        code = "from evomerge.store import make_owner; print(make_owner())"
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        store.acquire_lease(held.id, run.stdout.strip(), 3600)
        store.acquire_lease(held.id, held.owner, 60)

    def test_the_lease_of_a_process_elsewhere_must_run_out(self, store: Store) -> None:
        held = hold(store)
        store.release_lease(held.id, held.owner)
        _, pid, start, machine, nonce = held.owner.split(":")
        elsewhere = [f"elsewhere:{2**22}:{start}:{machine}:{nonce}", f"x:{pid}:{start}:0:0", "odd"]
        for owner in elsewhere:
            store.acquire_lease(held.id, owner, 60)
            with pytest.raises(LeaseLostError):
                store.acquire_lease(held.id, held.owner, 60)
            store.release_lease(held.id, owner)

    def test_a_controller_without_the_lease_writes_nothing(self, store: Store) -> None:
        held = hold(store)
        (candidate,) = held.add(make_candidate(0))
        intruder = make_owner()
        with pytest.raises(LeaseLostError):
            store.add_candidates(held.id, intruder, [make_candidate(1)])
        with pytest.raises(LeaseLostError):
            store.mark_told(held.id, intruder, {candidate.id: 0.0})
        with pytest.raises(LeaseLostError):
            store.request_evaluations(held.id, intruder, [candidate.id], Split.TEST)
        assert store.candidates(held.id) == [candidate]
        assert len(held.evaluations()) == 1
