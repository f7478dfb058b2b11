"""Who gets the name of a machine that cannot be asked where its Node says it is."""

from dataclasses import replace

from k3.core.observation import Silent
from k3.network.events import SelfProven, Synced
from tests.network.test_peers import ME, WEB, Bench, T, answer, heard


def test_a_name_recorded_at_our_own_place_goes_to_who_claims_it_once_it_is_no_longer_ready() -> None:
    """The Node of a former identity of this machine, still Ready in a copied file; its name is announced by another machine.

    Nobody can ask at that place but ourselves, and the Node may stand for a machine of another site: until its time to live is
    over it stays. The claim was heard long before, and is not heard again.
    """
    former = Bench()
    former.give(SelfProven(replace(ME, addresses=("10.0.0.9",))))
    there = replace(WEB, addresses=("10.0.0.1",), id="f" * 32)
    former.give(heard(there))
    former.run(0.1, {"web": answer(there)})
    bench = Bench(online=False)
    bench.nodes = {"web": former.nodes["web"]}
    bench.give(SelfProven(ME))
    bench.give(Synced((former.seen("web"),)))
    claimant = replace(WEB, addresses=("10.0.0.2",))
    bench.give(heard(claimant))
    bench.run(T - 1, {"web": answer(claimant)})
    assert bench.seen("web").id == there.id
    assert bench.seen("web").is_ready
    bench.run(T, {"web": answer(claimant)})
    [(_, verdict)] = bench.said(Silent)
    assert isinstance(verdict, Silent)
    assert not verdict.standing
    assert bench.seen("web").id == claimant.id
    assert bench.seen("web").addresses == ("10.0.0.2",)
    assert bench.seen("web").is_ready
