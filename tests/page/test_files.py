"""What the server hands out at `/` and `/page/`: to whom, with which headers, and what is not in it."""

import gzip
import re
from pathlib import Path
from typing import Final

import pytest
from hatchling.builders.wheel import WheelBuilder

from k3.server.page import files
from tests.server.running import Running, running

_FOLDER: Final = Path(files.__file__).parent
_SOURCES: Final = sorted(each for each in _FOLDER.iterdir() if each.suffix in {".js", ".css", ".html", ".svg"})
_HTML: Final = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
_MOST_BYTES: Final = 150_000
_FOREIGN: Final = {"sec-fetch-site": "cross-site"}
_LINK: Final = {**_FOREIGN, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


async def _get(server: Running, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with server.session.get(server.url + path, headers=named, auto_decompress=False) as answer:
        return answer.status, {name.lower(): text for name, text in answer.headers.items()}, await answer.read()


async def test_who_wants_html_gets_the_page_and_a_client_of_kubernetes_the_paths() -> None:
    async with running() as server:
        code, headers, body = await _get(server, "/", **_HTML)
        assert (code, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert gzip.decompress(body).startswith(b"<!doctype html>")
        assert "accept" in headers["vary"].lower()
        code, headers, body = await _get(server, "/", accept="application/json")
        assert (code, headers["content-type"]) == (200, "application/json")
        assert b'"/api/v1"' in body


async def test_the_policy_lets_in_nothing_but_the_servers_own() -> None:
    async with running() as server:
        for path in ("/", "/page/app.js", "/page/page.css", "/page/icon.svg"):
            code, headers, _ = await _get(server, path, **_HTML)
            assert code == 200
            policy = dict(each.split(" ", 1) for each in headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
            assert {policy[each] for each in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
            assert policy["require-trusted-types-for"] == "'script'"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-cache, private"


async def test_a_file_is_sent_once_and_compressed() -> None:
    async with running() as server:
        _, headers, plain = await _get(server, "/page/app.js", accept_encoding="identity")
        assert "content-encoding" not in headers
        assert headers["content-type"] == "text/javascript; charset=utf-8"
        _, headers, packed = await _get(server, "/page/app.js", accept_encoding="gzip, br")
        assert gzip.decompress(packed) == plain
        code, headers, body = await _get(server, "/page/app.js", if_none_match=headers["etag"])
        assert (code, body) == (304, b"")
        assert "content-security-policy" in headers
        async with server.session.head(server.url + "/page/app.js") as answer:
            assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize("path", ["/page/", "/page/none.js", "/page/../files.py", "/page/files.py", "/page/%2e%2e/app.py"])
async def test_nothing_else_is_handed_out(path: str) -> None:
    async with running() as server:
        code, _, body = await _get(server, path)
        assert code == 404
        assert b"import" not in body


async def test_a_link_on_another_site_opens_the_page_and_nothing_but_the_page() -> None:
    async with running() as server:
        assert (await _get(server, "/?q=web", **_HTML, **_LINK))[0] == 200
        assert (await _get(server, "/", **_HTML, **_FOREIGN))[0] == 403
        assert (await _get(server, "/", **_HTML, **_LINK | {"sec-fetch-dest": "iframe"}))[0] == 403
        assert (await _get(server, "/page/app.js", **_FOREIGN, sec_fetch_mode="no-cors", sec_fetch_dest="script"))[0] == 403
        assert (await _get(server, "/api/v1/nodes", **_LINK))[0] == 403
        assert (await _get(server, "/", **_HTML, host="evil.example", **_LINK))[0] == 403


async def test_the_page_itself_may_ask_and_write() -> None:
    async with running() as server:
        await server.made("web1")
        own = {"sec_fetch_site": "same-origin", "sec_fetch_mode": "cors", "origin": server.url}
        assert (await _get(server, "/api/v1/nodes", **own))[0] == 200
        body = {"spec": {"unschedulable": True}}
        code, _ = await server.ask("PATCH", "/api/v1/nodes/web1", body, content_type="application/merge-patch+json", **own)
        assert code == 200
        foreign = own | {"origin": "http://127.0.0.1:1"}
        code, _ = await server.ask("PATCH", "/api/v1/nodes/web1", body, content_type="application/merge-patch+json", **foreign)
        assert code == 403


def test_every_file_is_in_the_wheel() -> None:
    root = _FOLDER.parents[3]
    packed = {each.distribution_path for each in WheelBuilder(str(root)).recurse_included_files()}
    assert {f"k3/server/page/{each.name}" for each in _SOURCES} <= packed


def test_the_whole_is_small() -> None:
    assert sum(len(gzip.compress(each.read_bytes())) for each in _SOURCES) < _MOST_BYTES / 2


@pytest.mark.parametrize("path", _SOURCES, ids=lambda path: path.name)
def test_no_text_ever_becomes_markup_or_code(path: Path) -> None:
    text = path.read_text()
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|setHTML|ContextualFragment|\beval\b|new Function"
    assert not re.search(sinks, text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text), "nothing is fetched from elsewhere"
    if path.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), "the policy would refuse it"


@pytest.mark.parametrize("path", [each for each in _SOURCES if each.suffix == ".js"], ids=lambda path: path.name)
def test_every_import_is_handed_out(path: Path) -> None:
    for name in re.findall(r"""(?:from|import\()\s*["']([^"']+)["']""", path.read_text()):
        assert name.startswith("/page/")
        assert name == "/page/facts.js" or (_FOLDER / name.removeprefix("/page/")).exists()


@pytest.mark.parametrize("path", [each for each in _SOURCES if each.suffix == ".js"], ids=lambda path: path.name)
def test_a_module_says_what_it_is_for_and_stays_readable(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(("/**", "//"))
    assert len(text.splitlines()) <= 350
