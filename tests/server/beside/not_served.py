"""Where `k3 server` answers otherwise than a kube-apiserver, and why. Each row is one request.

It is named by its scene, and by its number there.
"""

from collections.abc import Iterator, Mapping
from typing import Final

_ROWS: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    "a policy of a garbage collector, which k3 has none of: no kind that is stored owns another, so all is deleted at once": {
        "policies of a garbage collector": (1, 2),
        "policies of a garbage collector that is to keep its hands off": (1, 2),
    },
    "what is wrong with broken protobuf is told by what was read first": {"what bodies are said to be": (13,)},
    "an option that takes away what cannot be read in etcd": {"options in the body": (21, 22)},
    "namespaces are always the same: nobody has written them, and they have no subresources": {
        "tables of leases, events and namespaces": (6,),
        "what is served beside nodes": (0, 2, 3, 5, 6),
        "watches of namespaces": (3,),
        "what cannot be deleted": (3,),
    },
    "pods are there to be empty: they have no subresources but eviction, whose body is not looked at": {
        "what is served beside nodes": (10, 11),
        "a watch that tells when it has told all": (8,),
        "evictions": (2,),
    },
    "reviews are answered, and neither stored nor managed by anybody": {"reviews": (0, 5, 7, 9, 14, 20)},
    "a name that can be none is no path, and neither is one with a slash in it, or with none between two": {
        "subresources and names that are not there": (29, 30, 31),
        "encoded paths": (3, 7),
        "names that a store might mind": (1,),
    },
    "an answer is compressed whatever its weight, as RFC 9110 has it": {"answers that are compressed": (2,)},
    "anchors in YAML, a few of which stand for as much as anybody likes": {"bodies in YAML": (8, 9)},
    "fields that Kubernetes drops are managed by nobody": {"a lease and an event are made": (2,)},
    "a page says that more follows only where it does": {"pages": (10,)},
    "a continue token is one of the server's own: a page of another revision than the first is not given": {
        "pages": (16, 18, 19)
    },
    "a watch of a revision to come is refused at once, for the client may have come from another store": {
        "a watch of a revision to come": (0,)
    },
    "a refusal carries no warnings": {"merge patches": (41,), "JSON patches": (21,)},
    "a directive in a list that is replaced as a whole is taken for one, and not for a field": {"taints": (3,)},
    "bytes that are no text are told as the replacement character": {"bodies that are no object": (9,)},
    "one sentence for all that YAML cannot be": {"configurations that are applied": (31,)},
    "hashes of how etcd stores a kind": {"documents": (5, 6)},
    "health is told in one word, below each of its paths": {"documents": (12, 13)},
    "the details of a refusal are there, and the method is checked, at /apis as elsewhere": {
        "documents": (3,),
        "methods that are not served": (1,),
    },
    "methods that HTTP does not have": {"methods that are not served": (12, 15)},
}


def _rows() -> Iterator[tuple[tuple[str, int], str]]:
    for why, scenes in _ROWS.items():
        for name, numbers in scenes.items():
            yield from (((name, number), why) for number in numbers)


NOT_SERVED: Final[Mapping[tuple[str, int], str]] = dict(_rows())
