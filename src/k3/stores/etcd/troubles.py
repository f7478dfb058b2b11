"""What went wrong with an etcd, as one of k3's errors: cause and remedy in one line, without a secret in it. Pure."""

import re
from typing import Final

from grpc import StatusCode
from grpc.aio import AioRpcError

from k3.core.errors import Expired, Forbidden, K3Error, TooLarge, Unavailable
from k3.core.records import dataclass
from k3.core.safe_text import one_line

CLOSED: Final = "the store was closed"
_LOGIN: Final = "set storage.etcd.username, and storage.etcd.password or K3_STORE_PASSWORD"

_FULL: Final = "database space exceeded"
_NO_AUTH: Final = "authentication is not enabled"
# UNKNOWN, INTERNAL and CANCELLED as well: etcd and grpc use them where a leader or a connection was lost.
_OUTAGES: Final = {
    StatusCode.UNAVAILABLE,
    StatusCode.DEADLINE_EXCEEDED,
    StatusCode.UNKNOWN,
    StatusCode.INTERNAL,
    StatusCode.ABORTED,
    StatusCode.CANCELLED,
}
_NUMBERS: Final = re.compile(
    r"^(ipv[46]:\S+: |recvmsg:|sendmsg:|Failed to connect to remote host: |connect: )+| ?\(\d+(, [^)]*)?\)$"
)
_LAST_ERROR: Final = re.compile(r"last error: \w+: (?:ipv[46]:\S+:\d+: )?(.*)")


@dataclass(frozen=True, slots=True)
class Asker:
    """What an error message may name of a call: where it went, as which user, and for which prefix."""

    endpoint: str
    user: str
    prefix: str


def is_outage(error: AioRpcError) -> bool:
    """Whether another member, or the same one later, may answer. Whether a write happened is then unknown."""
    return error.code() in _OUTAGES and not _is_full(error)


def is_old_token(error: AioRpcError) -> bool:
    """Whether etcd refused the call, before doing anything, because of the token alone."""
    text = _text(error)  # "user name is empty": etcd had no users when this process logged in, and has them now
    return error.code() is StatusCode.UNAUTHENTICATED or any(
        mark in text for mark in ("auth store is old", "user name is empty")
    )


def has_no_login(error: AioRpcError) -> bool:
    """Whether etcd knows no users at all."""
    return _NO_AUTH in _text(error)


def explain(error: AioRpcError, asker: Asker) -> K3Error:
    """Returns the error to raise for a call that failed."""
    text, code = _text(error), error.code()
    fields = {"endpoint": asker.endpoint, "user": asker.user or "(none)", "text": one_line(text)[:200], "login": _LOGIN}
    for mark, kind, said in _REFUSALS:
        if mark is code if isinstance(mark, StatusCode) else mark in text:
            return kind(said.format(**fields))
    if code is StatusCode.PERMISSION_DENIED:
        return no_right(asker)
    return unreachable(error, asker)


def no_right(asker: Asker) -> Forbidden:
    """Returns the error for a user who is known, and may not do this."""
    return Forbidden(
        f"etcd at {asker.endpoint} denies user {asker.user or '(none)'} access to {asker.prefix}/: "
        f"etcdctl role grant-permission ROLE --prefix=true readwrite {asker.prefix}/"
    )


def unreachable(error: AioRpcError, asker: Asker) -> K3Error:
    """Returns the error for a missing connection or an answer without a reason, by the text that grpc gives."""
    text = _text(error)
    for mark, kind, said in _CONNECTION:
        if mark in text:
            other = "http://" if asker.endpoint.startswith("https") else "https://"
            return kind(said.format(endpoint=asker.endpoint, other=other))
    if error.code() is StatusCode.DEADLINE_EXCEEDED:
        return Unavailable(f"etcd at {asker.endpoint} does not answer in time")
    last = _LAST_ERROR.search(text)
    why = _NUMBERS.sub("", one_line(last[1] if last else text)[:200])
    return Unavailable(f"no etcd answers at {asker.endpoint} ({why[:1].lower() + why[1:]})")


def unknown(error: AioRpcError, asker: Asker) -> K3Error:
    """As `explain`, for a write: where no answer came, it says that the write may have happened."""
    explained = explain(error, asker)
    if not is_outage(error) or not isinstance(explained, Unavailable) or _was_never_sent(error):
        return explained
    return Unavailable(f"{explained}; the write may or may not have happened")


def _was_never_sent(error: AioRpcError) -> bool:
    return "failed to connect" in _text(error).lower() or "errors resolving" in _text(error)


_ETCD: Final = "etcd at {endpoint} "
_REFUSALS: Final[tuple[tuple[str | StatusCode, type[K3Error], str], ...]] = (
    ("invalid user ID or password", Forbidden, _ETCD + "refuses user {user}: unknown name or wrong password; {login}"),
    ("user name is empty", Forbidden, _ETCD + "wants a user: {login}"),
    (StatusCode.UNAUTHENTICATED, Forbidden, _ETCD + "refuses the login of user {user}: {login}"),
    (
        _FULL,
        Unavailable,
        _ETCD + "is full (NOSPACE alarm) and takes no writes: compact it, run `etcdctl defrag`, then `etcdctl alarm disarm`,"
        " or raise --quota-backend-bytes",
    ),
    ("request is too large", TooLarge, _ETCD + "takes no request of that size: raise its --max-request-bytes"),
    (StatusCode.OUT_OF_RANGE, Expired, _ETCD + "no longer has, or does not yet have, that revision ({text}): list again"),
    (
        StatusCode.UNIMPLEMENTED,
        Unavailable,
        "what answers at {endpoint} is no etcd v3 ({text}): correct storage.etcd.endpoints",
    ),
)
_CERTIFICATE: Final = "the certificate of etcd at {endpoint} "
# grpc gives UNAVAILABLE for all of these: its text alone tells them apart. The first that fits counts.
_CONNECTION: Final[tuple[tuple[str, type[K3Error], str], ...]] = (
    (
        "Connection refused",
        Unavailable,
        "no etcd answers at {endpoint} (connection refused): start it, or correct the endpoints",
    ),
    (
        "No route to host",
        Unavailable,
        "no etcd answers at {endpoint} (no route to host): is the network there, and the address right?",
    ),
    (
        "Network is unreachable",
        Unavailable,
        "no etcd answers at {endpoint} (network is unreachable): is this machine's network up?",
    ),
    ("Operation not permitted", Unavailable, "no etcd answers at {endpoint} (not permitted: a firewall of this machine?)"),
    ("Connection reset", Unavailable, "etcd at {endpoint} hung up: was it stopped, or is it {other} there?"),
    ("Socket closed", Unavailable, "etcd at {endpoint} hung up: was it stopped, or is it {other} there?"),
    ("Broken pipe", Unavailable, "etcd at {endpoint} hung up: was it stopped, or is it {other} there?"),
    ("Stream removed", Unavailable, "etcd at {endpoint} hung up: was it stopped, or is it {other} there?"),
    ("etcdserver: request timed out", Unavailable, _ETCD + "has lost its leader or its quorum (request timed out)"),
    ("etcdserver: no leader", Unavailable, _ETCD + "has no leader"),
    (
        "Connection timed out",
        Unavailable,
        "no etcd answers at {endpoint} (no answer): is the network there, and the address right?",
    ),
    (
        "security handshaker",
        Forbidden,
        "TLS with etcd at {endpoint} cannot begin: are ca_file, cert_file and key_file PEM, and is the key the certificate's?",
    ),
    ("errors resolving", Unavailable, "no etcd answers at {endpoint} (no such host): correct storage.etcd.endpoints"),
    ("Name or service not known", Unavailable, "no etcd answers at {endpoint} (no such host): correct storage.etcd.endpoints"),
    ("Hostname Verification", Forbidden, _CERTIFICATE + "is for another name: use a name or address that it lists"),
    ("certificate has expired", Forbidden, _CERTIFICATE + "has expired: renew it on the server"),
    ("CERTIFICATE_VERIFY_FAILED", Forbidden, _CERTIFICATE + "is not signed by a known CA: set storage.etcd.ca_file to its CA"),
    (
        "TSI_DATA_CORRUPTED",
        Forbidden,
        "etcd at {endpoint} wants a client certificate it trusts: set storage.etcd.cert_file and key_file",
    ),
    ("Handshake read failed", Unavailable, "what answers at {endpoint} does not speak TLS: is it http:// there?"),
    ("WRONG_VERSION_NUMBER", Unavailable, "what answers at {endpoint} does not speak TLS: is it http:// there?"),
    (
        "before receiving SETTINGS",
        Unavailable,
        "what listens at {endpoint} does not answer: is it hanging, or is it https:// there?",
    ),
    ("last error: UNAVAILABLE", Unavailable, "{endpoint} closes every connection: is it https:// there?"),
    ("http1.x", Unavailable, "what answers at {endpoint} is no etcd v3; correct storage.etcd.endpoints"),
)


def _is_full(error: AioRpcError) -> bool:
    return _FULL in _text(error)


def _text(error: AioRpcError) -> str:
    return error.details() or error.code().name
