"""The answers of a real kube-apiserver to the cases: `python -m tests.server.schema.recording URL TOKEN` records them."""

import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from k3.core.objects import Kind
from tests.server.schema.cases import CASES, Case

FILE: Final = Path(__file__).parent / "answers.json"
_OWN: Final = ("uid", "creationTimestamp", "resourceVersion", "managedFields")
_SECONDS: Final = 10.0


def compared(code: int, answer: dict[str, Any]) -> dict[str, Any]:
    """Returns what is compared of an answer: an object without what each server makes of its own, or what is refused."""
    if code < 300:
        return {"code": code, "object": answer | {"metadata": {k: v for k, v in answer["metadata"].items() if k not in _OWN}}}
    details = dict(answer.get("details") or {})
    causes = details.pop("causes", [])
    message = answer["message"]
    if len(causes) > 1:  # labels are looked at in no order
        details["causes"] = sorted(causes, key=lambda cause: json.dumps(cause, sort_keys=True))
        message = message.partition("[")[0] + ", ".join(sorted(f"{each['field']}: {each['message']}" for each in causes))
    return {"code": code, "reason": answer["reason"], "message": message, "details": details}


class Recorder:
    """Asks a real kube-apiserver."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._context = ssl._create_unverified_context()  # noqa: S323 - one that the test itself has started

    def answers(self) -> dict[str, Any]:
        """Returns the answer to each case, and the Warning headers that came with it."""
        return {name: self._answer(case) for name, case in CASES.items()}

    def _answer(self, case: Case) -> dict[str, Any]:
        body = (case.body if isinstance(case.body, str) else json.dumps(case.body)).encode()
        query = f"?dryRun=All&fieldValidation={case.validation}"
        where = self._path(case.kind)
        if case.old is None:
            code, answer, warned = self._call("POST", where + query, body, case.content_type)
        else:
            name = case.old["metadata"]["name"]
            code, there, _ = self._call("POST", where, json.dumps(case.old).encode(), "application/json")
            assert code == 201, there
            body = body.replace(b"@version@", there["metadata"]["resourceVersion"].encode())
            part = f"/{case.subresource}" if case.subresource else ""
            code, answer, warned = self._call("PUT", f"{where}/{name}{part}{query}", body, case.content_type)
            self._call("DELETE", f"{where}/{name}", b"", "")
        return compared(code, answer) | ({"warnings": warned} if warned else {})

    @staticmethod
    def _path(kind: Kind) -> str:
        base = f"/apis/{kind.group}/{kind.version}" if kind.group else "/api/v1"
        return f"{base}/namespaces/default/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"

    def _call(self, method: str, path: str, body: bytes, content_type: str) -> tuple[int, Any, list[str]]:
        headers = {"Authorization": f"Bearer {self._token}"} | ({"Content-Type": content_type} if content_type else {})
        request = urllib.request.Request(  # noqa: S310 - https, given by the test
            self._url + path, data=body, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, context=self._context, timeout=_SECONDS) as answer:  # noqa: S310 - as above
                return answer.status, json.loads(answer.read()), answer.headers.get_all("Warning") or []
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, json.loads(refusal.read()), refusal.headers.get_all("Warning") or []


def kept(answers: dict[str, Any]) -> str:
    """Returns answers as the file has them: one a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(answer, sort_keys=True)}" for name, answer in answers.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(kept(Recorder(sys.argv[1], sys.argv[2]).answers()), encoding="utf-8")
