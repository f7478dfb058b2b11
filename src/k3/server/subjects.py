"""Which Events are about which object, so that a request for those of one object does not look through all of them.

A window makes it when it is first asked for, and keeps it up to date from then on.
"""

from collections.abc import Mapping

from k3.server.entries import Entry, Place
from k3.server.selectors import SUBJECTS, field_of
from k3.server.turns import in_turns

_Subject = tuple[str, str]
"""A field and its value, such as `involvedObject.name` and `web1`."""


class Subjects:
    """The places of objects, by what they are about."""

    def __init__(self, entries: Mapping[Place, Entry]) -> None:
        self._unread = dict(entries)
        self._read: dict[Place, tuple[_Subject, ...]] = {}
        self._places: dict[_Subject, set[Place]] = {}

    def put(self, place: Place, entry: Entry) -> None:
        """Takes in an object as it is now."""
        self.drop(place)
        self._unread[place] = entry

    def drop(self, place: Place) -> None:
        """Takes in that an object is gone."""
        self._unread.pop(place, None)
        for subject in self._read.pop(place, ()):
            found = self._places[subject]
            found.discard(place)
            if not found:
                del self._places[subject]

    async def catch_up(self) -> None:
        """Reads what has not been read yet; others get their turn meanwhile."""
        async for place in in_turns(list(self._unread)):
            self._take(place)

    def places(self, subject: _Subject) -> list[Place]:
        """Returns the places of the objects that are about this, in order. To be called after `catch_up`."""
        for place in list(self._unread):
            self._take(place)
        return sorted(self._places.get(subject, ()))

    def _take(self, place: Place) -> None:
        if (entry := self._unread.pop(place, None)) is None:
            return
        manifest = entry.manifest()
        subjects = tuple((field, value) for field in SUBJECTS if (value := field_of(manifest, field)))
        self._read[place] = subjects
        for subject in subjects:
            self._places.setdefault(subject, set()).add(place)
