"""The kinds of request bodies: those of the table of resources, and those that are only ever sent. Pure."""

from typing import Final

from k3.core.objects import EVENT, LEASE, NODE, Kind
from k3.server.resources import CONFIG_MAP, CSI_NODE, NAMESPACE, POD, SERVICE

DELETE_OPTIONS: Final = Kind(group="", version="v1", name="DeleteOptions", plural="deleteoptions", namespaced=False)
EVICTION: Final = Kind(group="policy", version="v1", name="Eviction", plural="pods", namespaced=True)
SELF_SUBJECT_ACCESS_REVIEW: Final = Kind(
    group="authorization.k8s.io",
    version="v1",
    name="SelfSubjectAccessReview",
    plural="selfsubjectaccessreviews",
    namespaced=False,
)
SELF_SUBJECT_RULES_REVIEW: Final = Kind(
    group="authorization.k8s.io",
    version="v1",
    name="SelfSubjectRulesReview",
    plural="selfsubjectrulesreviews",
    namespaced=False,
)
SUBJECT_ACCESS_REVIEW: Final = Kind(
    group="authorization.k8s.io", version="v1", name="SubjectAccessReview", plural="subjectaccessreviews", namespaced=False
)
SELF_SUBJECT_REVIEW: Final = Kind(
    group="authentication.k8s.io", version="v1", name="SelfSubjectReview", plural="selfsubjectreviews", namespaced=False
)
TOKEN_REVIEW: Final = Kind(
    group="authentication.k8s.io", version="v1", name="TokenReview", plural="tokenreviews", namespaced=False
)

REVIEWS: Final = (
    SELF_SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_RULES_REVIEW,
    SUBJECT_ACCESS_REVIEW,
    SELF_SUBJECT_REVIEW,
    TOKEN_REVIEW,
)
BODIES: Final = (NODE, EVENT, LEASE, NAMESPACE, POD, CONFIG_MAP, SERVICE, CSI_NODE, DELETE_OPTIONS, EVICTION, *REVIEWS)
"""Every kind that a body may be read as."""
