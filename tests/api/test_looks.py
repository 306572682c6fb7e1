"""All who follow a search share one look at it."""

from evomerge.api.looks import Looks


def test_within_its_time_a_look_is_shared_and_afterwards_made_anew():
    now, seen = [0.0], []
    looks = Looks(lambda key: seen.append(key) or len(seen), seconds=1.0, clock=lambda: now[0])
    assert [looks.at("a"), looks.at("a"), looks.at("b")] == [1, 1, 2]
    now[0] = 1.5
    assert looks.at("a") == 3
    assert seen == ["a", "b", "a"]


def test_what_nobody_follows_any_more_is_forgotten():
    now = [0.0]
    looks = Looks(lambda key: key, seconds=1.0, clock=lambda: now[0])
    for number in range(100):
        now[0] += 2.0
        looks.at(str(number))
    assert len(looks._seen) == 1
