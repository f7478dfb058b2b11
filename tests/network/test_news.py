"""How much news is looked at: a flood has its allowance, and a fleet that answers is seen as fast as it answers."""

import math
from collections import Counter

import pytest

from k3.network.news import AT_ONCE, LONGEST_LOOK_SECONDS, LOOK_SECONDS, PER_SECOND, News


def looked_at(news: News, names: list[str], *, until: float) -> float:
    """When all of these had been looked at, or `until`."""
    now = 0.0
    while names and now < until:
        now = max(now, news.at(now))
        if now < until and news.at(now) <= now:
            news.take(names.pop(), now)
    return now


def test_a_flood_has_its_allowance() -> None:
    names = [f"m{number}" for number in range(10_000)]
    looked_at(News(lambda _: False, now=0.0), names, until=10.0)
    assert AT_ONCE + 10 * PER_SECOND - 2 <= 10_000 - len(names) <= AT_ONCE + 10 * PER_SECOND + 2


def test_a_fleet_that_answers_is_seen_as_fast_as_it_answers() -> None:
    names = [f"m{number}" for number in range(10_000)]
    took = looked_at(News(lambda _: True, now=0.0), names, until=60.0)
    assert not names
    assert took <= (10_000 / AT_ONCE) * (LOOK_SECONDS + 1 / PER_SECOND)


def test_in_a_flood_it_is_rarely_looked_who_has_answered() -> None:
    asked: Counter[str] = Counter()

    def is_proven(name: str) -> bool:
        asked[name] += 1
        return False

    looked_at(News(is_proven, now=0.0), [f"m{number}" for number in range(10_000)], until=60.0)
    assert asked.total() <= AT_ONCE * (60 / LONGEST_LOOK_SECONDS + 5)


def test_what_answers_in_a_flood_pays_for_itself_alone() -> None:
    names = [("invented-" if number % 10 else "real-") + str(number) for number in range(10_000)]
    looked_at(News(lambda name: name.startswith("real"), now=0.0), names, until=10.0)
    spent = [number for number in range(10_000 - len(names)) if number % 10]
    assert len(spent) <= AT_ONCE + 10 * PER_SECOND + 2


def seconds_for_a_fleet(*, flood_seconds: float) -> float:
    """How long it takes to look at a fleet each of which answers shortly after it was looked at, a day after a flood."""
    answered_at: dict[str, float] = {}
    now = 0.0
    news = News(lambda name: answered_at.get(name, math.inf) <= now, now=now)
    looked_at(news, [f"invented{number}" for number in range(10_000)], until=flood_seconds)
    now = began = flood_seconds + 86_400
    for number in range(2 * AT_ONCE):
        while news.at(now) > now:
            now = news.at(now)
        news.take(f"m{number}", now)
        answered_at[f"m{number}"] = now + LOOK_SECONDS / 2
    return now - began


def test_a_flood_of_long_ago_delays_no_fleet() -> None:
    assert seconds_for_a_fleet(flood_seconds=10.0) == pytest.approx(seconds_for_a_fleet(flood_seconds=0.0))


def test_nothing_is_given_back_twice() -> None:
    proven = {f"m{number}" for number in range(AT_ONCE)}
    names = [f"m{number}" for number in reversed(range(10_000))]
    looked_at(News(proven.__contains__, now=0.0), names, until=LOOK_SECONDS * 2.5)
    assert 10_000 - len(names) <= 2 * AT_ONCE + PER_SECOND
