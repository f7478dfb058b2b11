"""Lists in pages, all as of one revision.

Kubernetes continues a list by a token, which holds the revision and the place; k3's port by a key and a revision. The tokens of
the pages this process was given last are kept by key and revision. Where none is known, the list is read from its start as of
that revision, up to the key.
"""

from collections import OrderedDict
from typing import Final

from k3.core import limits
from k3.core.errors import Expired
from k3.core.objects import NODE, Key, Kind, Object
from k3.core.store import Page
from k3.stores.kubernetes import asking, troubles
from k3.stores.kubernetes.client import Client
from k3.stores.kubernetes.documents import SERVED, Listed, Odd, read_list

_EXACT: Final = {"resourceVersionMatch": "Exact"}

Place = tuple[Kind, str, Key, int]
"""Where a page ended: kind, namespace, last key, revision."""


class Listing:
    """Reads lists."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tokens: OrderedDict[Place, str] = OrderedDict()

    async def list(self, kind: Kind, *, namespace: str, limit: int, after: Key | None, at: int | None) -> Page:
        """See `Store.list`."""
        if at is not None and at <= 0:  # to Kubernetes, 0 means any revision
            msg = f"revision {at} is not of this store: list again"
            raise Expired(msg)
        if kind not in SERVED:
            return Page((), (await self.page(NODE, size=1)).revision)
        known = self._tokens.get((kind, namespace, after, at), "") if after and at else ""
        behind = after.path if after and not known else ""
        found: list[Object] = []
        token, revision, more = known, at, True
        while more and (not limit or len(found) < limit):
            size = limits.LIST_PAGE if behind or not limit else min(limits.LIST_PAGE, limit - len(found))
            page = await self.page(kind, namespace, size=size, token=token, at=at)
            if revision is not None and page.revision != revision:
                msg = f"the pages of a list are of revisions {revision} and {page.revision}: list again"
                raise Expired(msg)
            found += [item for item in page.objects if item.key.path > behind]
            token, revision, more = page.token, page.revision, bool(page.token)
        if limit and len(found) > limit:  # a page that began before the key
            found, token, more = found[:limit], "", True
        if not more or not found:
            return Page(tuple(found), revision or 0)
        self._keep((kind, namespace, found[-1].key, revision or 0), token)
        return Page(tuple(found), revision or 0, found[-1].key)

    async def page(self, kind: Kind, namespace: str = "", *, size: int, token: str = "", at: int | None = None) -> Listed:
        """Returns one answer of the server. Raises Expired, Unavailable, Forbidden."""
        parameters = {"limit": str(size)}
        if token:
            parameters["continue"] = token
        elif at is not None:
            parameters |= {"resourceVersion": str(at), **_EXACT}
        ask = asking.listed(kind, namespace, **parameters)
        found = await self._client.call(ask)
        try:
            return read_list(found, kind)
        except Odd as why:
            raise troubles.odd_answer(why, ask, self._client.asker) from None

    def clear(self) -> None:
        """Forgets all tokens: another store answers."""
        self._tokens.clear()

    def _keep(self, place: Place, token: str) -> None:
        if not token:
            return
        self._tokens[place] = token
        self._tokens.move_to_end(place)
        if len(self._tokens) > limits.KUBERNETES_TOKENS:
            self._tokens.popitem(last=False)
