"""Connections to one server: kept alive, shared by threads, each used by one request at a time.

A request that goes out on a kept connection which the server has just closed is sent once more on a fresh one, but only if doing it
twice is the same as doing it once (`repeatable`).  Other requests fail with ConnectionLostError, because nobody knows whether
they were done; a connection that is seen to be closed is never used in the first place.
"""

from __future__ import annotations

import http.client
import os
import select
import ssl
import threading
from email.message import Message
from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Union
from urllib.parse import urlencode, urlsplit

from .errors import ConnectionLostError, MaphError, TimedOutError, from_answer

Body = Union[bytes, Iterable[bytes], None]
PIECE = 65536
KEPT = 16


class Answer:
    """A complete answer."""

    def __init__(self, status: int, headers: Message, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Stream:
    """An answer whose body is read while it comes.  Close it, or read it to its end."""

    def __init__(self, transport: "Transport", connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._transport = transport
        self._connection = connection
        self._response = response

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives.  One that ends before its end is an error, never a short success."""
        while True:
            try:
                piece = self._response.read1(PIECE)
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                self.close()
                raise _lost(error, "the answer ended early") from error
            if not piece:
                if self._response.length:
                    self.close()
                    raise ConnectionLostError("the answer ended early")
                self._transport.give_back(self._connection, self._response)
                return
            yield piece

    def lines(self) -> Iterator[bytes]:
        unfinished: List[bytes] = []
        for piece in self.pieces():
            first, *others = piece.split(b"\n")
            unfinished.append(first)
            if others:
                yield b"".join(unfinished)
                yield from others[:-1]
                unfinished = [others[-1]]
        if any(unfinished):
            yield b"".join(unfinished)

    def interrupt(self) -> None:
        """Wake a thread that waits in pieces(), from another one."""
        sock = self._connection.sock
        if sock is not None:
            try:
                sock.shutdown(2)
            except OSError:
                pass

    def close(self) -> None:
        self._response.close()
        self._connection.close()


class Transport:
    """The server's address, and the connections that wait for their next request."""

    def __init__(self, url: str, token: Optional[str], timeout: float, context: Optional[ssl.SSLContext]) -> None:
        parts = urlsplit(url if "://" in url else "http://" + url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise ValueError(f"not the URL of a maph server: {url!r}; it looks like http://localhost:8080")
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self._base = parts.path.rstrip("/")
        self._timeout = timeout
        self._context = context
        self._headers: Dict[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        self._idle: List[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._process = os.getpid()

    # ---------------------------------------------------------------------------------------------------- the pool
    def _fresh(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        seconds = self._timeout if timeout is None else timeout
        if self._secure:
            return http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=seconds)

    def _take(self) -> Optional[http.client.HTTPConnection]:
        """A kept connection that is still open, the last used first."""
        while True:
            with self._lock:
                if self._process != os.getpid():      # the connections are our parent's; closing our copies of the sockets leaves them open
                    self._process = os.getpid()
                    theirs, self._idle = self._idle, []
                    for one in theirs:
                        one.close()
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.sock is not None and not _readable(connection.sock):
                return connection
            connection.close()

    def give_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        if connection.sock is None or response.will_close:
            connection.close()
            return
        with self._lock:
            if len(self._idle) < KEPT and self._process == os.getpid():
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __del__(self) -> None:
        for connection in getattr(self, "_idle", []):
            connection.close()

    # ------------------------------------------------------------------------------------------------------ requests
    def _begin(self, method: str, path: str, query: Optional[Mapping[str, object]], headers: Optional[Mapping[str, str]], body: Body,
               repeatable: bool, timeout: Optional[float]) -> Tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        target = self._base + path
        if query:
            target += "?" + urlencode([(name, value) for name, value in query.items() if value is not None])
        all_headers = {**self._headers, **(headers or {})}
        streamed = body is not None and not isinstance(body, bytes)
        if streamed:
            all_headers["Transfer-Encoding"] = "chunked"
        kept = self._take() if timeout is None else None
        while True:
            connection = kept or self._fresh(timeout)
            try:
                return connection, self._exchange(connection, method, target, all_headers, body, streamed)
            except MaphError:
                raise
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept is None or not repeatable or isinstance(error, TimeoutError):
                    raise _lost(error, f"{method} {self.url}{path}") from error
                kept = None
            except BaseException:
                connection.close()
                raise

    @staticmethod
    def _exchange(connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str], body: Body,
                  streamed: bool) -> http.client.HTTPResponse:
        try:
            connection.request(method, target, body=body, headers=dict(headers), encode_chunked=streamed)
        except (BrokenPipeError, ConnectionResetError):
            pass      # the server may have refused the body, answered and closed, all before we had sent the rest
        return connection.getresponse()

    def _read(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, what: str) -> bytes:
        try:
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _lost(error, f"{what}: the answer ended early") from error
        except BaseException:
            connection.close()
            raise
        self.give_back(connection, response)
        return data

    def request(self, method: str, path: str, *, query: Optional[Mapping[str, object]] = None, headers: Optional[Mapping[str, str]] = None,
                body: Body = None, repeatable: bool = False) -> Answer:
        """One request and its whole answer; an answer that is an error becomes its exception."""
        connection, response = self._begin(method, path, query, headers, body, repeatable, None)
        data = self._read(connection, response, f"{method} {self.url}{path}")
        if response.status >= 400:
            raise from_answer(response.status, dict(response.headers), data)
        return Answer(response.status, response.headers, data)

    def stream(self, method: str, path: str, *, query: Optional[Mapping[str, object]] = None, headers: Optional[Mapping[str, str]] = None,
               timeout: Optional[float] = None) -> Stream:
        """One request whose answer is read while it comes.  A timeout is for each wait, on a connection of its own."""
        connection, response = self._begin(method, path, query, headers, None, True, timeout)
        if response.status >= 400:
            raise from_answer(response.status, dict(response.headers), self._read(connection, response, f"{method} {self.url}{path}"))
        return Stream(self, connection, response)


def _readable(sock: object) -> bool:
    """Whether something, which between requests can only be the end, waits on a socket."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)  # type: ignore[arg-type]
    return bool(poll.poll(0))


def _lost(error: BaseException, where: str) -> ConnectionLostError:
    if isinstance(error, TimeoutError):
        return TimedOutError(f"{where}: no answer in time")
    return ConnectionLostError(f"{where}: {error or type(error).__name__}")
