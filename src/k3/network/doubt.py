"""Am I the broken one? What an observer must know of itself before it says anything about others."""


class SelfDoubt:
    """Whether our own failures can be trusted: not when we are cut off, stood still, or nobody answers us any more."""

    def __init__(self, now: float) -> None:
        self.is_cut_off = True
        self._until = now
        self._answer_at = now
        self._mute: set[str] = set()

    def stood_still(self, until: float) -> None:
        """Our loop stalled: what failed meanwhile failed because of us."""
        self._until = max(self._until, until)

    def heard_from(self, name: str, now: float) -> None:
        """A host answered, if only with a refusal."""
        self._answer_at = now
        self._mute.discard(name)

    def fell_silent(self, name: str) -> None:
        """A peer that used to answer did not."""
        self._mute.add(name)

    def forget(self, name: str) -> None:
        """It no longer counts: known to be down, or gone."""
        self._mute.discard(name)

    def doubts(self, now: float, patience_seconds: float) -> bool:
        """Whether to suspect nobody. Two peers at least must be mute, and nobody have answered for a while."""
        return self.is_cut_off or now < self._until or (len(self._mute) > 1 and now - self._answer_at > patience_seconds)
