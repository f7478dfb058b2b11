"""What kube-apiserver 1.37 says to managers that it does not take."""

from k3.core.objects import Kind
from k3.server.patching.options import manager_causes, patch_causes
from k3.server.status import Cause, invalid

OPTIONS = Kind(group="meta.k8s.io", version="v1", name="PatchOptions", plural="", namespaced=False)


def told(causes: list[Cause]) -> str:
    return str(invalid(OPTIONS, "", causes))


def test_what_is_refused_is_refused_in_kubernetes_words() -> None:
    begins = 'PatchOptions.meta.k8s.io "" is invalid: '
    assert (
        told(patch_causes("", is_forced=None, is_apply=True))
        == f"{begins}fieldManager: Required value: is required for apply patch"
    )
    assert (
        told(patch_causes("a", is_forced=True, is_apply=False))
        == f"{begins}force: Forbidden: may not be specified for non-apply patch"
    )
    assert told(manager_causes("a" * 130)) == f"{begins}fieldManager: Too long: may not be more than 128 bytes"
    assert told(manager_causes("\x01x")) == (
        f'{begins}fieldManager: Invalid value: "\\x01x": invalid character U+0001 (at position 0)'
    )


def test_what_is_taken() -> None:
    assert patch_causes("kubectl", is_forced=True, is_apply=True) == []
    assert patch_causes("", is_forced=None, is_apply=False) == []
