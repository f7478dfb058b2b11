"""The API itself: from a request to an answer. Knows no web framework.

A request is looked at in this order: who asks, what for, whether they may, and only then whether it is there. What is refused
is answered with a Status; what was not expected is logged with an id, and answered with that (ADR 41).
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from k3.core.errors import Expired, NotFound
from k3.core.objects import Key, Kind, Manifest
from k3.core.records import dataclass
from k3.core.store import Store
from k3.server import discovery, patches, paths, reads, watching
from k3.server.access.roles import Attempt
from k3.server.decoding import decoded_body
from k3.server.entries import Entry, Result, encoded
from k3.server.negotiation import JSON, Form, form
from k3.server.options import DeleteOptions, ReadOptions, Said, WriteKind, WriteOptions, check_timeout, included
from k3.server.outlet import Outlet
from k3.server.patches import Patch
from k3.server.paths import Target
from k3.server.resources import POD
from k3.server.schema import kinds, openapi, openapi_v2, validation
from k3.server.selectors import Selection, selection
from k3.server.shapes import Reading, Shape, shape
from k3.server.standing import Fixed, Followed, Standing
from k3.server.status import Refused, expired, no_such_resource, not_found
from k3.server.writes import Guard, Writer, Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request. Header names are in lower case; `body` reads the whole body, and raises Refused where it is too long."""

    method: str
    raw_path: str
    path: tuple[str, ...] | None
    """Its segments (`paths.segments`)."""
    target: Target | None
    """The resource that it is about (`paths.target`)."""
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: Callable[[], Awaitable[bytes]]
    host: str = ""
    """The server's address, as the client has it."""

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is to be written, as far as the query says."""
        return "All" in self.query.get("dryRun", ())

    @property
    def is_watch(self) -> bool:
        """Whether the answer goes on."""
        return self.method == "GET" and Said(self.query).is_true("watch") is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that is there as a whole."""

    body: bytes
    status: int = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    name: str = ""
    """Of what was written: that of a new object is not in its path."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that is written piece by piece, as long as that goes on."""

    pieces: AsyncGenerator[bytes, None]
    media_type: str = JSON
    size: int | None = None
    """How many bytes it is in all; None: not known, for it goes on until it ends."""
    outlet: Outlet = field(default_factory=Outlet)
    """Takes pieces that can be sent at once, between two of the others."""


WHOLE_BYTES: Final = 1024 * 1024
"""A list that is not longer is put together, and sent as a whole."""


class Access(Protocol):
    """What the client of one request may do."""

    def check(self, attempt: Attempt) -> None:
        """Raises Refused where the client may not even try."""
        ...

    def check_content(self, attempt: Attempt, *, before: Manifest | None, after: Manifest | None) -> None:
        """Raises Refused where the client may not make this of that."""
        ...

    def review(self, kind: str, spec: Manifest) -> Manifest:
        """Returns the status of a review, such as a SelfSubjectAccessReview, by its spec."""
        ...


class Api:
    """The API over one store."""

    def __init__(self, store: Store, standing: Standing, observed: Container[str]) -> None:
        """`observed`: the names of the Nodes that an agent looks after."""
        self._store = store
        self._observed = observed
        self._standing = standing
        self._writer = Writer(store, standing.known)

    async def answer(self, ask: Ask, access: Access) -> Answer | Stream:
        """Returns the answer to a request. Raises Refused, K3Error."""
        access.check(_asked(ask))
        path = ask.path
        if path is None:
            raise no_such_resource()
        if path == ("openapi", "v2") or path[:2] == ("openapi", "v3"):
            if ask.method not in {"GET", "HEAD"}:
                raise not_allowed()
            return await (_openapi_v2(ask) if path[1:] == ("v2",) else _openapi_v3("/".join(path[2:]), ask))
        if discovery.is_unknown(path):
            return Answer(body=b"404 page not found\n", status=404, media_type="text/plain; charset=utf-8")
        if ask.method == "HEAD":  # as a kube-apiserver answers it
            raise not_allowed()
        if not ask.is_watch:
            check_timeout(ask.query)
        return await self._answer(ask, access, path)

    async def _answer(self, ask: Ask, access: Access, path: tuple[str, ...]) -> Answer | Stream:
        if (document := self._document(path, ask)) is not None:
            return document
        if (kind := _REVIEWS.get(path)) is not None:
            return await self._review(ask, access, kind)
        if (pod := _evicted(path)) is not None:
            raise not_found(POD, pod.name) if ask.method == "POST" else not_allowed()
        if ask.target is None:
            raise no_such_resource()
        return await self._resource(ask, access, ask.target)

    # ── documents about the API ─────────────────────────────────────────────────────────────────────────────────────

    def _document(self, path: tuple[str, ...], ask: Ask) -> Answer | None:
        is_discovery = path in {("api",), ("apis",)}
        if is_discovery and form(ask.headers.get("accept", ""), "groups").shape == "groups":
            body = encoded(discovery.aggregated(core=path == ("api",)))
            answer = Answer(body=body, media_type=Form("groups").media_type, headers={"Vary": "Accept"})
        elif (found := discovery.document(path, ask.host)) is not None:
            form(ask.headers.get("accept", ""))
            answer = Answer(body=encoded(found))
        else:
            return None
        if ask.method != "GET":
            raise not_allowed()
        return answer

    # ── questions that are asked by creating an object ──────────────────────────────────────────────────────────────

    async def _review(self, ask: Ask, access: Access, kind: Kind) -> Answer:
        if ask.method != "POST":
            raise not_allowed()
        form(ask.headers.get("accept", ""))
        content_type, options = ask.headers.get("content-type", ""), WriteOptions.parse(ask.query, "CreateOptions")
        decoded = await decoded_body(kind, await ask.body(), content_type, options.validation)
        review = decoded.manifest | {"kind": kind.name, "apiVersion": kind.api_version}
        review.setdefault("metadata", {})
        review["status"] = access.review(kind.name, review.get("spec") or {})
        return Answer(body=encoded(review), status=201, warnings=decoded.warnings)

    # ── resources ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _resource(self, ask: Ask, access: Access, target: Target) -> Answer | Stream:
        verb = _verb(ask, target)
        if verb not in target.resource.verbs and not target.subresource:
            raise not_allowed()
        if verb in {"get", "list", "watch"}:
            return await self._read(ask, target, verb)
        return await self._write(ask, access, target, verb)

    async def _read(self, ask: Ask, target: Target, verb: str) -> Answer | Stream:
        kind, now = target.resource.kind, datetime.now(UTC)
        wanted_form = form(ask.headers.get("accept", ""), "table", "metadata")
        one = verb == "get"
        options = ReadOptions.of_one(ask.query) if one else ReadOptions.parse(ask.query, is_watch=verb == "watch")
        origin = self._standing.of[kind.plural]
        include = included(ask.query) if wanted_form.shape == "table" else ""
        shaped = shape(wanted_form, kind, include, Reading(now, self._observed))
        if one:
            entry = await self._entry(target, origin, options)
            wanted_form.check_list(kind, is_list=False)
            return Answer(body=shaped.one(entry))
        chosen = selection(kind, options.labels, options.fields)
        if target.name:  # /api/v1/watch/nodes/web1, an old form of a field selector
            chosen = Selection(chosen.labels, (*chosen.fields, *selection(kind, "", f"metadata.name={target.name}").fields))
        if verb == "watch":
            return await self._watch(origin, target, chosen, options, shaped)
        page = await reads.page(origin.window, target.namespace, chosen, options, origin)
        wanted_form.check_list(kind, is_list=True)
        listing = await reads.written(page, shaped)
        if (size := listing.size) <= WHOLE_BYTES:
            return Answer(body=listing.whole())
        return Stream(listing.pieces(), size=size)

    async def _watch(
        self, origin: Followed | Fixed, target: Target, chosen: Selection, options: ReadOptions, shaped: Shape
    ) -> Stream:
        seconds = options.timeout_seconds or watching.LEAST_SECONDS * (1 + random.random())  # noqa: S311 - spreads load
        wanted = watching.Wanted(namespace=target.namespace, selection=chosen, options=options, shape=shaped, seconds=seconds)
        outlet = Outlet()
        lines = watching.lines(origin.window, wanted, await watching.begin(origin.window, options, origin), outlet)
        try:
            await anext(lines)
        except Expired as error:
            raise expired(str(error)) from error
        return Stream(lines, outlet=outlet)

    async def _entry(self, target: Target, origin: Followed | Fixed, options: ReadOptions) -> Entry:
        kind = target.resource.kind
        if target.resource.is_stored and options.revision is None:
            try:
                return Entry(await self._store.get(Key(kind, target.name, target.namespace)))
            except NotFound as error:
                raise not_found(kind, target.name) from error
        found = await reads.snapshot(origin.window, options.revision or 0, origin)
        if (entry := found.entries.get((target.namespace, target.name))) is None:
            raise not_found(kind, target.name)
        return entry

    async def _write(self, ask: Ask, access: Access, target: Target, verb: str) -> Answer:
        kind = target.resource.kind
        wanted_form = form(ask.headers.get("accept", ""), "table", "metadata")
        if verb in {"delete", "deletecollection"}:
            return await self._delete(ask, access, target, wanted_form)
        body, media_type = await ask.body(), ask.headers.get("content-type", "")
        is_apply = verb == "patch" and patches.kind_of(media_type) == patches.APPLY
        agent = ask.headers.get("user-agent", "")
        options = WriteOptions.parse(ask.query, _OPTIONS[verb], user_agent=agent, is_apply=is_apply)
        guard = _guard(access, verb, target)
        if verb == "patch":
            written = await patches.patched(self._writer, target, Patch(body, patches.kind_of(media_type)), options, guard)
        else:
            decoded = await decoded_body(kind, body, media_type, options.validation)
            if verb == "create":
                written = await self._writer.create(target, decoded.manifest, options, guard)
            else:
                written = await self._writer.update(target, decoded.manifest, options, guard)
            written = Written(written.manifest, written.is_new, decoded.warnings)
        shaped = shape(wanted_form, kind, "Metadata", Reading(datetime.now(UTC), self._observed))
        return Answer(
            body=shaped.one(Result(kind, written.manifest)),
            status=201 if written.is_new else 200,
            warnings=(*written.warnings, *validation.warnings(kind, written.manifest)),
            name=written.manifest["metadata"]["name"],
        )

    async def _delete(self, ask: Ask, access: Access, target: Target, wanted_form: Form) -> Answer:
        kind = target.resource.kind
        body = await ask.body()
        said: Manifest | None = None
        if body:
            content_type = ask.headers.get("content-type", "")
            said = (await decoded_body(kinds.DELETE_OPTIONS, body, content_type, "Ignore")).manifest
        options = DeleteOptions.parse(ask.query, said)
        if not target.name:
            return await self._delete_collection(ask, access, target, options, wanted_form)
        manifest, is_gone = await self._writer.delete(target, options, _guard(access, "delete", target))
        if not is_gone:
            return Answer(body=encoded(manifest))
        details = {"name": target.name, "group": kind.group, "kind": kind.plural, "uid": manifest["metadata"]["uid"]}
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {name: text for name, text in details.items() if text},
        }
        return Answer(body=encoded(status))

    async def _delete_collection(
        self, ask: Ask, access: Access, target: Target, options: DeleteOptions, wanted_form: Form
    ) -> Answer:
        kind = target.resource.kind
        chosen = ReadOptions.parse({name: values for name, values in ask.query.items() if name != "watch"})
        wanted = selection(kind, chosen.labels, chosen.fields)
        origin = self._standing.of[kind.plural]
        page = await reads.page(origin.window, target.namespace, wanted, chosen, origin)
        shaped = shape(wanted_form, kind, "Metadata", Reading(datetime.now(UTC), self._observed))
        gone: list[bytes] = []
        for entry in page.entries:
            one = Target(resource=target.resource, namespace=entry.key.namespace, name=entry.key.name)
            guard = _guard(access, "delete", one)
            this = options if options.uid is not None else replace(options, uid=entry.item.uid)
            try:
                await self._writer.delete(one, this, guard)
            except Refused as refused:
                if refused.reason == "NotFound":
                    continue
                raise
            gone.append(shaped.item(entry))
        return Answer(body=shaped.whole(page.metadata(), gone))


async def _openapi_v2(ask: Ask) -> Answer:
    """Returns the older OpenAPI. Clients ask for it by a name with an `@`, which is no media type, so they get another."""
    accept = ask.headers.get("accept", "").replace("@", ".")
    if openapi_v2.MEDIA_TYPE not in accept and "*/*" not in accept:
        message = f"only the following media types are accepted: {openapi_v2.MEDIA_TYPE}"
        raise Refused(406, message)
    return Answer(body=await asyncio.to_thread(openapi_v2.document), media_type=openapi_v2.MEDIA_TYPE)


async def _openapi_v3(where: str, ask: Ask) -> Answer:
    """Returns a document of OpenAPI, or their index. A client that names the hash of one may keep it for ever."""
    form(ask.headers.get("accept", ""))
    if not where:
        return Answer(body=encoded(openapi.index()))
    found = openapi.hash_of(where)
    asked = (ask.query.get("hash") or ("",))[0]
    if asked not in {"", found}:
        return Answer(status=301, body=b"", headers={"Location": f"/openapi/v3/{where}?hash={found}"})
    headers = {"Etag": f'"{found}"', "Vary": "Accept"}
    if asked:
        headers["Cache-Control"] = "public, immutable"
    if headers["Etag"] in ask.headers.get("if-none-match", ""):
        return Answer(status=304, body=b"", headers=headers)
    return Answer(body=await asyncio.to_thread(openapi.document, where), headers=headers)


def attempt(ask: Ask) -> Attempt | None:
    """Returns what a request is about to do with a resource; None where it is about none, or does what cannot be done."""
    try:
        return None if ask.target is None else _attempt(_verb(ask, ask.target), ask.target)
    except Refused:
        return None


def _asked(ask: Ask) -> Attempt:
    """Returns what a request asks for, as rights have it. They are looked at first: a stranger is not told what is served."""
    if ask.method == "POST" and ask.path is not None:
        if (kind := _REVIEWS.get(ask.path)) is not None:
            return Attempt(verb="create", group=kind.group, resource=kind.plural)
        if (pod := _evicted(ask.path)) is not None:
            return replace(_attempt("create", pod), subresource="eviction")
    return attempt(ask) or Attempt(verb=ask.method.lower(), path=ask.raw_path)


def _attempt(verb: str, target: Target) -> Attempt:
    kind = target.resource.kind
    return Attempt(
        verb=verb,
        group=kind.group,
        resource=kind.plural,
        subresource=target.subresource,
        namespace=target.namespace,
        name=target.name,
    )


def _guard(access: Access, verb: str, target: Target) -> Guard:
    attempt = _attempt(verb, target)

    def guard(before: Manifest | None, after: Manifest | None) -> None:
        access.check_content(attempt, before=before, after=after)

    return guard


def _verb(ask: Ask, target: Target) -> str:
    if ask.method == "GET":
        if target.is_watch or (ask.is_watch and not target.name):
            return "watch"
        return "get" if target.name else "list"
    if ask.method == "POST" and not target.is_watch:
        if not target.name and bool(target.namespace) == target.resource.kind.namespaced:
            return "create"
        raise not_allowed()
    if ask.method in {"PUT", "PATCH"} and target.name and not target.is_watch:
        return "update" if ask.method == "PUT" else "patch"
    is_everywhere = target.resource.kind.namespaced and not target.namespace
    if ask.method == "DELETE" and not (target.subresource or target.is_watch or is_everywhere):
        return "delete" if target.name else "deletecollection"
    raise not_allowed()


def not_allowed() -> Refused:
    """Returns the refusal of a method that a path does not have."""
    return Refused(405, "the server does not allow this method on the requested resource", details={})


def _evicted(path: tuple[str, ...]) -> Target | None:
    """Returns the pod that is to be evicted at a path; None where it is none."""
    target = paths.target(path[:-1]) if path[-1:] == ("eviction",) else None
    return target if target is not None and target.resource.kind == POD else None


_REVIEWS: Final[Mapping[tuple[str, ...], Kind]] = {
    ("apis", kind.group, kind.version, kind.plural): kind for kind in kinds.REVIEWS
}
_OPTIONS: Final[Mapping[str, WriteKind]] = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
