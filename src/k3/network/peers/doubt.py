"""Rule 9: what an observer must know of itself before it says anything about others: whether it is the broken one. Pure."""

import math


class SelfDoubt:
    """Whether failures can be trusted: not while the agent stood still, nor on a link that it lost or that has gone mute.

    A link is named by its prefix, or by its interface (`%eth0`) where a peer has only link-local addresses there.
    """

    def __init__(self, now: float) -> None:
        self.is_cut_off = True
        """No link is left at all."""
        self._until = now
        self._answer_at: dict[str, float] = {}
        self._mute: dict[str, str] = {}
        """The peers that used to answer and do not, each with its link."""

    def stood_still(self, until: float) -> None:
        """The agent's loop stalled: what failed meanwhile may have failed because of that."""
        self._until = max(self._until, until)

    def heard_from(self, name: str, link: str, now: float) -> None:
        """A host on this link answered, if only with a refusal."""
        self._answer_at[link] = now
        self._mute.pop(name, None)

    def fell_silent(self, name: str, link: str) -> None:
        """A peer that used to answer on this link did not."""
        self._mute[name] = link

    def forget(self, name: str) -> None:
        """It no longer counts: known to be down, or gone."""
        self._mute.pop(name, None)

    def doubts(self, link: str, now: float, patience_seconds: float) -> bool:
        """Whether to suspect no peer on this link: two at least are mute there, and no host there has answered for a while."""
        if self.is_cut_off or now < self._until:
            return True
        mute = sum(1 for each in self._mute.values() if each == link)
        return mute > 1 and now - self._answer_at.get(link, -math.inf) > patience_seconds
