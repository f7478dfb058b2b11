"""A real kube-apiserver, asked over its own wire."""

import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any

from k3.core.objects import Kind
from tests.server.patching.cases import TYPES, Answer, Step


class KubeApiserver:
    """The API of a real kube-apiserver at an address, as an administrator with a token."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._token = token
        self._context = ssl._create_unverified_context()  # noqa: S323 - its certificate is made for this run

    def do(self, kind: Kind, name: str, step: Step, at: int) -> Answer:
        """Does one step; each in a second of its own, as managed fields tell time in seconds."""
        time.sleep(1.05 - time.time() % 1)
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        resource = f"{root}/namespaces/default/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
        tail = f"/{step.subresource}" if step.subresource else ""
        options = f"?fieldManager={step.manager}" + ("&force=true" if step.force else "")
        body = step.body
        if step.how == "create":
            return self._call("POST", resource + options, body, "application/json")
        if step.how == "update":
            there = self._call("GET", f"{resource}/{name}", None, "application/json").body
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": there["metadata"]["resourceVersion"]}}
            return self._call("PUT", f"{resource}/{name}{tail}{options}", body, "application/json")
        return self._call("PATCH", f"{resource}/{name}{tail}{options}", body, TYPES[step.how])

    def _call(self, method: str, path: str, body: Any, content_type: str) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type, "Accept": "application/json"}
        data = None if method == "GET" else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, headers, method=method)  # noqa: S310 - https
        try:
            with urllib.request.urlopen(request, context=self._context) as answer:  # noqa: S310 - https
                return Answer(answer.status, json.load(answer))
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, json.load(refused))
