"""Connections to one server: kept alive, shared by threads, each used by one request at a time.

A connection that is seen to be closed is not used.  A request that goes out on a kept connection
which the server closes at that moment is sent once more on a fresh one, if that cannot be noticed:
it only reads (`repeatable`), or it could not be sent to its end, so that the server cannot have
done it.  Other requests fail with ConnectionLostError, because nobody knows whether they were done.
 That holds for a put without a condition too: done twice, it would undo what another client put in
between.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import socket
import ssl
from collections import deque
from email.message import Message
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Tuple,
    Union,
)
from urllib.parse import urlencode, urlsplit

from .errors import ConnectionLostError, TimedOutError, from_answer, no_answer_of_maph

Body = Union[bytes, Iterable[bytes], None]
Connected = Callable[[socket.socket], None]
NOT_MODIFIED = 304
PIECE = 65536
KEPT = 16
EARLY = "the answer ended early"


class Answer:
    """A complete answer."""

    def __init__(self, request: str, status: int, headers: Message, body: bytes) -> None:
        self.request = request
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            raise no_answer_of_maph(self.request, self.status) from None

    def expect(self, status: int) -> None:
        if self.status != status:
            raise no_answer_of_maph(self.request, self.status)

    @property
    def version(self) -> int:
        """Of the entry that was read or written: the ETag, which says -gzip where the server
        compressed the answer, and is weak where a proxy did."""
        tag = self.headers.get("ETag", "")
        number = tag[2 * tag.startswith("W/") :].strip('"')
        number = number[:-5] if number.endswith("-gzip") else number
        if not number.isdigit():
            raise no_answer_of_maph(self.request, self.status)
        return int(number)


class Stream:
    """An answer whose body is read while it comes.  Close it, or read it to its end."""

    def __init__(
        self,
        transport: "Transport",
        request: str,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
    ) -> None:
        self._transport = transport
        self.request = request
        self._connection = connection
        self._response = response

    def pieces(self) -> Iterator[bytes]:
        """The body as it arrives.  One that ends before its end is an error, never a short
        success."""
        while True:
            try:
                piece = self._response.read1(PIECE)
            except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
                self.close()
                raise _lost(error, self.request, EARLY) from error
            if not piece:
                if self._response.length:
                    self.close()
                    raise ConnectionLostError(EARLY, request=self.request)
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

    def close(self) -> None:
        self._response.close()
        self._connection.close()


class Transport:
    """The server's address, and the connections that wait for their next request."""

    def __init__(
        self, url: str, token: Optional[str], timeout: float, context: Optional[ssl.SSLContext]
    ) -> None:
        try:
            parts = urlsplit(url if "://" in url else "http://" + url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"not the URL of a maph server: {url!r}: {error}") from None
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.query
            or parts.fragment
            or parts.username
        ):
            raise ValueError(
                f"not the URL of a maph server: {url!r}; it looks like http://localhost:8080"
            )
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
            raise ValueError(
                "a token is printable ASCII without spaces; one read from a file may end in a "
                "newline: strip() it"
            )
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = port or (443 if self._secure else 80)
        self._base = parts.path.rstrip("/")
        self._timeout = timeout
        self._context = context
        self._headers: Dict[str, str] = {"Authorization": f"Bearer {token}"} if token else {}
        self._idle: Deque[
            http.client.HTTPConnection
        ] = deque()  # without a lock: a fork in another thread would leave it locked
        self._process = os.getpid()

    # ------------------------------------------------------------------------------------- the pool
    def _fresh(self, timeout: Optional[float]) -> http.client.HTTPConnection:
        seconds = self._timeout if timeout is None else timeout
        if self._secure:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=seconds, context=self._context
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=seconds)

    def _take(self) -> Optional[http.client.HTTPConnection]:
        """A kept connection that is still open, the last used first."""
        if (
            self._process != os.getpid()
        # the connections are our parent's, which uses them; our copies of the sockets close
        # unnoticed
        ):
            theirs, self._idle = self._idle, deque()
            self._process = os.getpid()
            for one in theirs:
                one.close()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.sock is not None and not _readable(connection.sock):
                return connection
            connection.close()

    def give_back(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        if (
            connection.sock is None
            or response.will_close
            or len(self._idle) >= KEPT
            or self._process != os.getpid()
        ):
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    # ------------------------------------------------------------------------------------- requests
    def _name(self, method: str, path: str) -> str:
        """A request as errors call it."""
        return f"{method} {self.url}{path}"

    def _begin(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, object]],
        headers: Optional[Mapping[str, str]],
        body: Body,
        repeatable: bool,
        timeout: Optional[float],
        connected: Optional[Connected] = None,
    ) -> Tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        target = self._base + path
        if query:
            target += "?" + urlencode(
                [(name, value) for name, value in query.items() if value is not None]
            )
        all_headers = {**self._headers, **(headers or {})}
        streamed = body is not None and not isinstance(body, bytes)
        if streamed:
            all_headers["Transfer-Encoding"] = "chunked"
        kept = self._take() if timeout is None else None
        while True:
            connection, sent = kept or self._fresh(timeout), False
            try:
                if connected:
                    connection.connect()
                    connected(connection.sock)
                sent = self._send(connection, method, target, all_headers, body, streamed)
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                in_doubt = sent and not repeatable
                if kept is None or streamed or in_doubt or isinstance(error, TimeoutError):
                    raise _lost(error, self._name(method, path), in_doubt=in_doubt) from error
                kept = None
            except BaseException:
                connection.close()
                raise

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        streamed: bool,
    ) -> bool:
        """Whether all of it was sent.  If not, the server may have refused the body, answered and
        closed, all before we had sent the rest."""
        try:
            connection.request(
                method, target, body=body, headers=dict(headers), encode_chunked=streamed
            )
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _read(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        request: str,
    ) -> bytes:
        try:
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _lost(error, request, EARLY) from error
        except BaseException:
            connection.close()
            raise
        self.give_back(connection, response)
        return data

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Optional[Mapping[str, object]] = None,
        headers: Optional[Mapping[str, str]] = None,
        body: Body = None,
        repeatable: bool = False,
    ) -> Answer:
        """One request and its whole answer; an answer that is an error becomes its exception."""
        connection, response = self._begin(method, path, query, headers, body, repeatable, None)
        name = self._name(method, path)
        data = self._read(connection, response, name)
        if response.status >= 300 and response.status != NOT_MODIFIED:
            raise from_answer(name, response.status, dict(response.headers), data)
        return Answer(name, response.status, response.headers, data)

    def stream(
        self,
        method: str,
        path: str,
        media_type: str,
        *,
        query: Optional[Mapping[str, object]] = None,
        timeout: Optional[float] = None,
        connected: Optional[Connected] = None,
    ) -> Stream:
        """One request whose answer, of that media type, is read while it comes.  A timeout is for
        each wait, on a connection of its own, whose
        socket `connected` is given before anything is waited for."""
        connection, response = self._begin(
            method, path, query, {"Accept": media_type}, None, True, timeout, connected
        )
        name = self._name(method, path)
        if response.status >= 300:
            raise from_answer(
                name,
                response.status,
                dict(response.headers),
                self._read(connection, response, name),
            )
        if response.headers.get_content_type() != media_type:
            connection.close()
            raise no_answer_of_maph(name, response.status)
        return Stream(self, name, connection, response)


def _readable(sock: socket.socket) -> bool:
    """Whether something, which between requests can only be the end, waits on a socket."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _lost(
    error: BaseException, request: str, what: str = "", *, in_doubt: bool = False
) -> ConnectionLostError:
    doubt = "; it may have been done or not" if in_doubt else ""
    if isinstance(error, TimeoutError):
        return TimedOutError(
            "no answer in time; the timeout of MaphClient says how long to wait" + doubt,
            request=request,
        )
    why = (str(error) or type(error).__name__) + doubt
    if isinstance(error, ConnectionRefusedError):
        why += "; is maph-server running there?"
    return ConnectionLostError(f"{what}: {why}" if what else why, request=request)
