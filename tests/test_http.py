"""The HTTP client: streams, bounds, kept connections, against a server that says what it is told to."""

import asyncio
from contextlib import aclosing

import pytest

from k3.agent import http
from k3.agent.http import Conversation, Cut, Http, LongAnswer, NotHttp, Request, Server
from k3.core.addresses import authority
from k3.testing.leaks import LeakCheck
from tests.discovery.answering import Speaker, reply, speaking

ASK = Request("GET", "/", (("Host", "h"),))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INFORMING = b"HTTP/1.1 103 Early Hints\r\n\r\n"


def server(speaker: Speaker) -> Server:
    return Server(host="127.0.0.1", port=int(speaker.address.rpartition(":")[2]))


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert (authority("fd00::1", 80), authority("10.0.0.1", 80)) == ("[fd00::1]:80", "10.0.0.1:80")


async def test_a_stream_gives_each_piece_as_it_comes_and_keeps_the_connection() -> None:
    more = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED + b"3\r\none\r\n")
        await more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply(b"again"))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = Http(Server(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
        async with client.stream(ASK, timeout_seconds=20) as (head, pieces):
            assert head.status == 200
            assert await anext(pieces) == b"one"
            more.set()
            assert [piece async for piece in pieces] == [b"two"]
        assert (await client.request(ASK, timeout_seconds=20)).body == b"again", "over the same connection"
        await client.aclose()


async def test_a_stream_that_falls_silent_is_given_up_and_one_that_is_left_is_closed() -> None:
    async with speaking([CHUNKED + b"3\r\none\r\n"]) as speaker:
        leaks = LeakCheck()
        client = Http(server(speaker))
        with pytest.raises(TimeoutError):
            async with client.stream(ASK, timeout_seconds=0.1) as (_, pieces):
                assert [piece async for piece in pieces] == []
        async with client.stream(ASK, timeout_seconds=20) as (_, pieces):
            assert await anext(pieces) == b"one"
        await client.aclose()
        await speaker.quiet()
        leaks.finish()


async def test_a_stream_lasts_longer_than_the_time_for_one_piece() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CHUNKED)
        for _ in range(4):
            await asyncio.sleep(0.3)
            writer.write(b"1\r\n.\r\n")
        writer.write(b"0\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        client = Http(Server(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
        async with client.stream(ASK, timeout_seconds=1.0) as (_, pieces):
            assert [piece async for piece in pieces] == [b"."] * 4
        await client.aclose()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", Cut),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n[", Cut),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", NotHttp),
        (INFORMING * (http.HEADS_BYTES // len(INFORMING) + 1), NotHttp),
        (reply(b"x" * 101), LongAnswer),
        (CHUNKED + b"1;" + b"x" * 5_000 + b"\r\nx\r\n" + b"1;" + b"x" * 5_000 + b"\r\n", LongAnswer),
    ],
    ids=["nothing", "half", "ssh", "informing for ever", "long", "little in much"],
)
async def test_what_is_no_answer_is_raised_as_it_is(answer: bytes, error: type[http.HttpError]) -> None:
    async with speaking([answer], once=True) as speaker:
        with pytest.raises(error):
            await http.get(server(speaker), "/", timeout_seconds=20, answer_bytes=100)


async def test_a_conversation_goes_over_anything_that_reads_and_writes() -> None:
    asked: list[bytes] = []
    answers = [INFORMING + b"HTTP/1.1 204 No Content\r\n", b"X-A: b\r\n\r\n", reply(b"two")]

    async def read() -> bytes:
        return answers.pop(0) if answers else b""

    async def write(data: bytes) -> None:
        asked.append(data)

    conversation = Conversation(read=read, write=write)
    head = await conversation.ask(ASK)
    assert (head.status, head.headers["x-a"]) == (204, "b")
    async with aclosing(conversation.pieces()) as pieces:
        assert [piece async for piece in pieces] == []
    await conversation.ask(Request("PUT", "/", (("Host", "h"),)))
    assert await conversation.body(3) == b"two"
    assert [b"Content-Length: 0" in each for each in asked] == [False, True]
    with pytest.raises(Cut):
        await conversation.ask(ASK)
    assert conversation.was_closed_before
