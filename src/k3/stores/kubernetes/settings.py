"""What a person may set of a Kubernetes API as a store: the server or a kubeconfig, who k3 is there, and whom it trusts."""

import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from k3.core.addresses import is_loopback
from k3.core.errors import ConfigInvalid
from k3.core.records import dataclass
from k3.settings.parsing import TEXT, Fields
from k3.settings.urls import query, read_query

TYPE: Final = "kubernetes"
EXAMPLE: Final = "https://host:8443"
SCHEMES: Final[tuple[str, ...]] = ("https", "http", "kubeconfig")
ALIASES: Final[tuple[str, ...]] = ("k8s", "kube")
PACKAGES: Final[Mapping[str, str]] = {}
FIELDS: Final[Fields] = {
    "server": TEXT,
    "server_name": TEXT,
    "token": TEXT,
    "token_file": TEXT,
    "ca_file": TEXT,
    "cert_file": TEXT,
    "key_file": TEXT,
    "kubeconfig": TEXT,
    "context": TEXT,
}

_IN_URL: Final = ("ca_file", "cert_file", "key_file", "token_file", "server_name")
_SERVER: Final = re.compile(r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?(?:/[A-Za-z0-9._~/-]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesStorage:
    """`storage.type: kubernetes`. With neither server nor kubeconfig it is the cluster of the pod. See `Storage`."""

    server: str = ""
    """`https://hub:8443`, with a path where the API is not at the root."""
    server_name: str = ""
    """The name in the server's certificate, where it is another one than the server's."""
    token: str = field(default="", repr=False)
    token_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    kubeconfig: str = ""
    context: str = ""
    """Of the kubeconfig; empty: its current one."""

    type = TYPE
    file = None
    is_private = False

    @property
    def url(self) -> str:
        """The URL that opens the same store, given the token."""
        if self.kubeconfig:
            return f"kubeconfig://{quote(self.kubeconfig)}{query(self, 'context')}"
        return f"{self.server or f'{TYPE}://'}{query(self, *_IN_URL)}"

    @property
    def has_password(self) -> bool:
        """Whether a token is set; one in a file is none that another process would have to be told."""
        return bool(self.token)


def from_url(rest: str, where: str) -> dict[str, Any]:
    """Returns the settings in a URL of `SCHEMES`, or in what follows `kubernetes://`. Raises ConfigInvalid, ValueError."""
    rest.encode()  # a byte that is no UTF-8, as a shell may hand on, is a ValueError too
    scheme, separator, body = rest.partition("://")
    body, _, asked = (body if separator else rest).partition("?")
    told = f"{where}, {scheme if separator else TYPE}:// URL"
    if separator and scheme == "kubeconfig":
        if not body.startswith("/"):
            msg = f"{told}: expected the path of a file, like kubeconfig:///etc/k3/kubeconfig?context=hub"
            raise ConfigInvalid(msg)
        fields = {"context": FIELDS["context"]}
        return {"server": "", "kubeconfig": unquote(body), **read_query(asked, fields, told)}
    if "@" in body:
        msg = f"{told}: a user or password in it is not taken; set K3_STORE_TOKEN, or token_file"
        raise ConfigInvalid(msg)
    fields = {key: FIELDS[key] for key in _IN_URL}
    server = f"{scheme if separator else 'https'}://{body}".rstrip("/") if body else ""
    return {"server": server, "kubeconfig": "", **read_query(asked, fields, told)}


def storage(settings: Mapping[str, Any], *, default_path: Path, where: str) -> KubernetesStorage:  # noqa: ARG001 - see `Backend`
    """Returns the API that is named, else the pod's own. Raises ConfigInvalid."""
    found = KubernetesStorage(**settings)
    if why := _why_not(found):
        msg = f"{where}: {why}"
        raise ConfigInvalid(msg)
    return found


def _why_not(found: KubernetesStorage) -> str:
    """Returns what is wrong with settings; empty: nothing."""
    if found.server and found.kubeconfig:
        return "storage.kubernetes has a server and a kubeconfig; name one of them"
    if found.context and not found.kubeconfig:
        return "storage.kubernetes.context is that of a kubeconfig; name the kubeconfig too"
    if found.kubeconfig and not found.kubeconfig.startswith("/"):
        return "storage.kubernetes.kubeconfig is to be a path from / on"
    if found.key_file and not found.cert_file:
        return "storage.kubernetes.key_file is the key of a certificate; name cert_file too"
    if not found.server:
        return ""
    return why_no_server(found.server, has_credentials=bool(found.token or found.token_file or found.cert_file))


def why_no_server(url: str, *, has_credentials: bool) -> str:
    """Returns why k3 does not use the server of this URL; empty: it does."""
    if not _SERVER.fullmatch(url):
        return "bad server, expected like https://hub:8443"
    if url.startswith("https:"):
        return ""
    if not is_loopback(urlsplit(url).hostname or ""):
        return "http:// is for this machine alone (http://127.0.0.1:8080), as it is not encrypted; write https://"
    if has_credentials:
        return "a token or certificate is not shown over http://, where any user may listen; write https://, or leave it out"
    return ""
