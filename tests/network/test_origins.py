"""Places and turns for what is not proven: a flood crowds out itself, and a newcomer from anywhere else is next."""

from k3.network.origins import AT_ONCE, EAGER_TURNS, PAUSE_SECONDS, PREFERRED, Allowance, Shares, Turns, origin_of


def test_an_origin_is_what_a_host_does_not_choose_at_will() -> None:
    assert origin_of(["fe80::1%eth0", "10.0.0.7"]) == "10.0.0.7"
    assert origin_of(["2001:db8::1"]) == origin_of(["2001:db8::ffff:1"]) != origin_of(["2001:db8:0:1::1"])
    assert origin_of(["fe80::1%eth0"]) == origin_of(["fe80::2%eth1"])
    assert origin_of([]) == ""


def test_the_oldest_of_the_origin_that_has_the_most_makes_room() -> None:
    shares = Shares(each=3, all_=5)
    assert [shares.add(f"honest{number}", f"origin{number}") for number in range(2)] == [None, None]
    flood = [shares.add(f"flood{number}", "flood") for number in range(5)]
    assert flood == [None, None, None, "flood0", "flood1"]
    assert shares.add("newcomer", "elsewhere") == "flood2"
    assert len(shares) == 5
    shares.leave("honest0")
    assert shares.add("flood9", "flood") is None


def test_a_newcomer_has_the_next_turn() -> None:
    turns = Turns()
    for number in range(100):
        turns.wait(f"flood{number}", "flood")
    assert turns.next(0.0) == "flood99"
    turns.wait("newcomer", "elsewhere")
    turns.wait("flood100", "flood")
    assert turns.next(0.0) == "newcomer"
    assert turns.next(0.0) == "flood100"


def test_an_origin_has_few_turns_at_once_and_pauses_after_many_in_vain() -> None:
    turns = Turns()
    for number in range(100):
        turns.wait(f"flood{number}", "flood")
    first = [turns.next(0.0) for _ in range(AT_ONCE + 1)]
    assert first[-1] is None
    assert turns.at() == float("inf"), "until one of them is over"
    had = 0
    while turns.under_way or turns.at() == 0:
        for key in first:
            turns.over(key or "")
        first = [turns.next(0.0)]
        had += first != [None]
    assert had + AT_ONCE == EAGER_TURNS
    assert turns.at() == PAUSE_SECONDS
    assert turns.next(PAUSE_SECONDS - 0.01) is None
    assert turns.next(PAUSE_SECONDS) is not None


def test_a_turn_that_proves_something_costs_none() -> None:
    turns = Turns()
    for number in range(2 * EAGER_TURNS):
        turns.wait(f"m{number}", "host")
        key = turns.next(0.0)
        assert key == f"m{number}"
        turns.over(key)
        turns.forgive("host")


def test_who_is_there_again_before_its_turn_is_over_has_one_turn() -> None:
    turns = Turns()
    for _ in range(2 * AT_ONCE):
        turns.wait("web", "host")
        assert turns.next(0.0) == "web"
    assert turns.under_way == 1
    turns.over("web")
    turns.wait("web", "host")
    assert turns.next(0.0) == "web"


def test_a_first_question_comes_before_a_repeated_one() -> None:
    turns = Turns()
    turns.wait("first", "host")
    turns.wait("again", "host", again=True)
    assert [turns.next(0.0), turns.next(0.0)] == ["first", "again"]


def test_an_allowance_fills_up_again() -> None:
    allowance = Allowance(at_once=2, per_second=4.0, now=10.0)
    assert [allowance.take(10.0) for _ in range(3)] == [True, True, False]
    at = allowance.at(10.0)
    assert 10.25 <= at < 10.26
    assert allowance.take(at)
    allowance.give_back()
    assert allowance.take(at)
    assert not allowance.take(at)


def test_the_preferred_come_before_all_others_but_not_without_end() -> None:
    turns = Turns()
    for number in range(2 * EAGER_TURNS):
        turns.wait(f"better{number}", PREFERRED)
    turns.wait("web", "host")
    taken: list[str] = []
    while not taken or taken[-1] != "web":
        key = turns.next(0.0)
        assert key is not None
        turns.over(key)
        taken.append(key)
    assert EAGER_TURNS < len(taken) <= EAGER_TURNS + 2
