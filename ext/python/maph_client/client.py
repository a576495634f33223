"""A maph server."""

from __future__ import annotations

import json
import ssl
from typing import List, Optional

from . import jobs
from .connection import Transport
from .entry import is_number
from .errors import StoreExistsError, no_answer_of_maph
from .process import InProcess
from .stats import StoreStats
from .store import MaphStore, store_path


class MaphClient(InProcess):
    """A server's stores.  One client is enough for a program: its threads share its connections,
    which are kept open.

    timeout: seconds without an answer, for each request.  token: for a server that asks for one.
    ssl_context: for https.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        token: Optional[str] = None,
        timeout: float = 30.0,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"a server's URL is a str, not {type(url).__name__}")
        if token is not None and not isinstance(token, str):
            raise TypeError(f"a token is a str, not {type(token).__name__}")
        if timeout is not None and not is_number(timeout):
            raise TypeError(f"timeout is a number of seconds, not {type(timeout).__name__}")
        self._transport = Transport(url, token, timeout, ssl_context)

    def _elsewhere(self) -> str:
        return f"make it there: MaphClient({self.url!r})"

    @property
    def url(self) -> str:
        """Where the server is: what was given, without a slash at its end."""
        return self._transport.url

    def __repr__(self) -> str:
        return f"<maph client of {self.url}>"

    def __enter__(self) -> "MaphClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections.  The client stays usable: it would open new ones."""
        self._transport.close()

    def create_store(
        self, name: str, *, expected_keys: Optional[int] = None, exist_ok: bool = False
    ) -> MaphStore:
        """Make a store.  StoreExistsError, unless exist_ok; expected_keys: an index of that size at
        once."""
        body = (
            b"" if expected_keys is None else json.dumps({"expected_keys": expected_keys}).encode()
        )
        try:
            self._transport.request(
                "POST",
                store_path(name),
                headers={"Content-Type": "application/json"} if body else {},
                body=body,
            ).expect(201)
        except StoreExistsError:
            if not exist_ok:
                raise
        return MaphStore(self._transport, name)

    def get_store(self, name: str) -> MaphStore:
        """A store that is there.  StoreNotFoundError."""
        store = self.store(name)
        store.stats()
        return store

    def store(self, name: str) -> MaphStore:
        """The same without asking the server: a missing store shows at the first use."""
        return MaphStore(self._transport, name)

    def list_stores(self) -> List[StoreStats]:
        """Every store that the token may read."""
        return [
            StoreStats.from_json(one)
            for one in self._transport.request("GET", "/stores", repeatable=True).json()
        ]

    def delete_store(self, name: str) -> None:
        """Delete a store, with its file.  StoreNotFoundError."""
        self._transport.request("DELETE", store_path(name)).expect(204)

    def jobs(self) -> List[jobs.Job]:
        """The compacts, optimizes, backups and checks that run, and the last ones that ended."""
        return [
            jobs.Job(self._transport, one)
            for one in self._transport.request("GET", "/jobs", repeatable=True).json()
        ]

    def ping(self) -> None:
        """An exception unless the server is there and well."""
        answer = self._transport.request("GET", "/readyz", repeatable=True)
        if answer.body.strip() != b"ready":
            raise no_answer_of_maph(answer.request, answer.status)
