"""The states of objects this process has seen last, within a bound of memory. No I/O; it knows nothing of any backend."""

from collections import OrderedDict

from k3.core import limits
from k3.core.objects import Key, Object


class Remembered:
    """The newest known state of the objects last read or written, so that an update need not read before it writes.

    It may be old. What is decided by it is put to the server as the condition of a write.
    """

    def __init__(self) -> None:
        self._objects: OrderedDict[Key, Object] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key, revision: int) -> Object | None:
        """Returns the object, if it is known as of that revision."""
        found = self._objects.get(key)
        return found if found and found.revision == revision else None

    def put(self, item: Object) -> Object:
        """Keeps the object, and forgets the oldest ones where that is too much. Returns it."""
        self.drop(item.key)
        self._objects[item.key] = item
        self._bytes += len(item.document)
        while self._bytes > limits.REMEMBERED_BYTES:
            _, oldest = self._objects.popitem(last=False)
            self._bytes -= len(oldest.document)
        return item

    def drop(self, key: Key) -> None:
        """Forgets the object of this key."""
        former = self._objects.pop(key, None)
        if former:
            self._bytes -= len(former.document)

    def clear(self) -> None:
        """Forgets everything."""
        self._objects.clear()
        self._bytes = 0
