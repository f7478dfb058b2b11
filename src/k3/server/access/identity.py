"""The users of the server, by what they have shown: a token, a certificate, or their connection. Pure.

Names and groups are Kubernetes' own where it has them, so that the certificates of a cluster mean here what they mean there:
`system:masters` may do all, and `system:node:web1` of `system:nodes` is the agent of the machine web1.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args

from k3.core.records import dataclass

Role = Literal["view", "agent", "admin"]
"""What a user may do (`roles`): read, write what an agent writes, or all."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
ADMINS: Final = "system:masters"
NODES: Final = "system:nodes"
AGENTS: Final = "k3:agents"
"""The group of the agents that look after the machines of a network, not of one machine alone."""
VIEWERS: Final = "k3:viewers"
NODE_USER: Final = "system:node:"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...]
    role: Role | None = None
    """None: a user without any rights but to know what is served."""
    node: str = ""
    """The one Node whose agent this is; empty with the role `agent`: an agent that looks after all Nodes of k3's."""
    token: str = ""
    """The id of the token that was shown, if one was: what is under way for it ends when it is revoked."""

    @property
    def is_known(self) -> bool:
        """Whether the user has shown who it is."""
        return AUTHENTICATED in self.groups

    def info(self) -> dict[str, Any]:
        """Returns a UserInfo, as reviews show it (authentication.k8s.io/v1)."""
        return {"username": self.name, "groups": list(self.groups)}


ANONYMOUS: Final = User(name="system:anonymous", groups=(UNAUTHENTICATED,))


def of_token(id_: str, role: Role, node: str) -> User:
    """Returns the user of a token. The agent of one machine has the name that Kubernetes gives to its kubelet."""
    if role == "agent" and node:
        return User(name=f"{NODE_USER}{node}", groups=(NODES, AUTHENTICATED), role=role, node=node, token=id_)
    group = {"view": VIEWERS, "agent": AGENTS, "admin": ADMINS}[role]
    return User(name=f"k3:{role}:{id_}", groups=(group, AUTHENTICATED), role=role, token=id_)


def of_certificate(name: str, organizations: Iterable[str]) -> User:
    """Returns the user of a client certificate whose chain was verified: its common name and its organizations."""
    groups = tuple(dict.fromkeys((*organizations, AUTHENTICATED)))
    node = name.removeprefix(NODE_USER) if name.startswith(NODE_USER) and NODES in groups else ""
    return User(name=name, groups=groups, role=_role(groups, node), node=node)


def of_local(name: str, *, may_write: bool) -> User:
    """Returns a user of this machine, who came over loopback."""
    groups = (ADMINS, AUTHENTICATED) if may_write else (VIEWERS, AUTHENTICATED)
    return User(name=f"local:{name}", groups=groups, role="admin" if may_write else "view")


def _role(groups: tuple[str, ...], node: str) -> Role | None:
    if ADMINS in groups:
        return "admin"
    if AGENTS in groups or node:
        return "agent"
    return "view" if VIEWERS in groups else None


def certificate_names(certificate: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Returns the common name and the organizations of a certificate as `ssl.SSLSocket.getpeercert` has it; a name may lack."""
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    names = [text for kind, text in subject if kind == "commonName"]
    return names[0] if names else "", tuple(text for kind, text in subject if kind == "organizationName")
