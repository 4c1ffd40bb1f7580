"""A gateway of bare TCP that does to each request exactly what a test says, and counts what it read."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

ACCEPT = (
    b'{"messageId":"x","simulation":false,"results":{"sms":{"accepted":true,"unicode":false,"parts":1,"reasons":[]}}}'
)


@dataclass
class Seen:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Action = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""What to do after a request was read; returns whether the connection stays open."""


def answer(status: int, body: bytes = b"{}", **headers: str) -> Action:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return True

    return act


async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    return False


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await reader.read()  # until the client gives up
    return False


def truncate(declared: int, body: bytes) -> Action:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % declared + body)
        await writer.drain()
        return False

    return act


def answer_and_close(body: bytes = ACCEPT) -> Action:
    """Answer as if the connection were kept, and close it: the client's next request meets a stale connection."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await answer(200, body)(reader, writer)
        return False

    return act


accept = answer(200, ACCEPT)


@dataclass
class WireGateway:
    """Use as ``async with``; `script` is consumed one action a request, then `default` holds."""

    script: list[Action] = field(default_factory=list)
    default: Action = accept
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0
    hang_ups: int = 0
    """Connections still to be closed before anything is read of them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api"

    @property
    def message_ids(self) -> Counter[str]:
        """How often each message id reached the wire."""
        bodies = [json.loads(request.body) for request in self.seen if request.method == "POST"]
        return Counter(body["messageId"] for body in bodies if "messageId" in body)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._port: int = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            if self.hang_ups:
                self.hang_ups -= 1
                return
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.seen.append(Seen(method, target, headers, body))
        action = self.script.pop(0) if self.script else self.default
        return await action(reader, writer)
