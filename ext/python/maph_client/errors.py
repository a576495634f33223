"""What can go wrong, as exceptions that name it.

The server answers an error with a stable code (RFC 9457); CODES maps each to its class.  Every one
of them is a MaphError with the status, the code, the server's sentence and the id of the request,
which the server's log shows too.
"""

from __future__ import annotations

import json
from typing import Dict, List, Mapping, Optional, Type, TypedDict, cast

__all__ = [
    "MaphError",
    "BadRequestError",
    "BucketUnavailableError",
    "BusyError",
    "CompactedError",
    "ConnectionLostError",
    "CorruptError",
    "ForbiddenError",
    "ImportFailedError",
    "JobFailedError",
    "JobNotFoundError",
    "KeyNotFoundError",
    "NoTransactionsError",
    "OutcomeUnknownError",
    "PreconditionFailedError",
    "ReadOnlyError",
    "ServerError",
    "StoreExistsError",
    "StoreFullError",
    "StoreNotFoundError",
    "TimedOutError",
    "TooLargeError",
    "UnauthorizedError",
    "UnsupportedError",
    "Error",
    "FullError",
    "NotFoundError",
    "TooBigError",
]


LONGEST_REQUEST = 200  # characters of it in a sentence: a key may have tens of thousands


class MaphError(Exception):
    """Any failure.  `request` is what was asked, as "GET http://..."; `status` is None when there
    was no answer at all."""

    def __init__(
        self,
        detail: str,
        *,
        request: str = "",
        status: Optional[int] = None,
        code: str = "",
        request_id: str = "",
        problem: Optional[Mapping[str, object]] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.request = request
        self.status = status
        self.code = code
        self.request_id = request_id
        self.problem: Dict[str, object] = dict(problem or {})
        self.headers = {name.lower(): value for name, value in (headers or {}).items()}

    def __str__(self) -> str:
        request = (
            self.request
            if len(self.request) <= LONGEST_REQUEST
            else self.request[:LONGEST_REQUEST] + "..."
        )
        return (
            (f"{request}: " if request else "")
            + self.detail
            + (f" ({self.code})" if self.code else "")
        )


class ConnectionLostError(MaphError, ConnectionError):
    """There is no server, or the connection ended early: a write may have happened or not."""


class TimedOutError(ConnectionLostError, TimeoutError):
    """No answer in time: a write may have happened or not."""


class StoreNotFoundError(MaphError, LookupError):
    """There is no store of that name."""


class StoreExistsError(MaphError):
    """There is a store, or a backup, of that name already."""


class KeyNotFoundError(MaphError, KeyError):
    """There is no such key, or it expired."""


class PreconditionFailedError(MaphError):
    """The key is not as if_version, if_absent or if_present said; nothing was written."""

    @property
    def version(self) -> Optional[int]:
        """The version the key is at, when the server says so; None: it says nothing, or the key is
        missing."""
        tag = self.headers.get("etag", "").strip('"')
        return int(tag) if tag.isdigit() else None

    @property
    def operation(self) -> Optional[int]:
        """Which operation of a batch failed, from 0; None outside a batch."""
        number = self.headers.get("maph-failed-operation", "")
        return int(number) if number.isdigit() else None


class UnauthorizedError(MaphError, PermissionError):
    """The server asks for a token, or does not know this one."""


class ForbiddenError(MaphError, PermissionError):
    """The token, or the page's origin, may not do that."""


class ReadOnlyError(MaphError):
    """The server may only read this store."""


class BadRequestError(MaphError, ValueError):
    """The request makes no sense to the server: an empty key, a bad store name, a malformed
    entry."""


class TooLargeError(MaphError, ValueError):
    """A key, value, batch or answer above the server's limits."""


class BusyError(MaphError):
    """Another writer held the store for the whole busy timeout, or the server has no room for this
    now; try again."""

    @property
    def retry_after(self) -> float:
        """Seconds that the server asks to wait."""
        try:
            return float(self.headers.get("retry-after", "1"))
        except ValueError:
            return 1.0


class BucketUnavailableError(BusyError):
    """The bucket of a replica cannot be reached: nothing was written, and reads go on; try
    again."""


class StoreFullError(MaphError):
    """No room: the disk, a quota or a limit of the file."""


class CorruptError(MaphError):
    """The store's file contradicts itself; the sentence names the place."""


class CompactedError(MaphError):
    """What was asked for was rewritten away: the changes since that version, or the page after that
    cursor.  Read again from the start."""


class UnsupportedError(MaphError):
    """This server does not know that request: it is an older one."""


class ServerError(MaphError):
    """The server failed in another way; see `code`."""


class OutcomeUnknownError(ServerError):
    """Nobody knows whether a write was done: the server of a replica's bucket, or what a proxy
    asked, fell silent.  Read the key before asking again."""

    @property
    def revision(self) -> Optional[int]:
        """What the key is at in the bucket; None: that is not told."""
        number = self.problem.get("revision")
        return number if isinstance(number, int) else None


class NoTransactionsError(BadRequestError):
    """A replica takes one key a request; nothing was written."""


class JobNotFoundError(MaphError, LookupError):
    """There is no such job, or many newer ones came since."""


class JobFailedError(MaphError):
    """A compact, optimize or backup failed or was cancelled; `problem` is the job."""


class RefusedLine(TypedDict, total=False):
    """A line of an import that was refused, a dict."""

    line: int  #: from 1
    code: str
    detail: str
    detail_encoding: str  #: base64: the member before it is


class ImportFailedError(MaphError):
    """Some lines of an import were refused, the others are in; `problem` is the server's
    summary."""

    @property
    def imported(self) -> int:
        """How many lines are in the store."""
        return cast(int, self.problem.get("imported", 0))

    @property
    def failed(self) -> int:
        """How many lines were refused."""
        return cast(int, self.problem.get("failed", 0))

    @property
    def errors(self) -> List[RefusedLine]:
        """The first of the lines refused."""
        return list(cast(List[RefusedLine], self.problem.get("errors", [])))


# The names that maph has for the same.
Error = MaphError
NotFoundError = KeyNotFoundError
FullError = StoreFullError
TooBigError = TooLargeError


CODES: Dict[str, Type[MaphError]] = {
    "store_not_found": StoreNotFoundError,
    "store_exists": StoreExistsError,
    "key_not_found": KeyNotFoundError,
    "precondition_failed": PreconditionFailedError,
    "unauthorized": UnauthorizedError,
    "forbidden": ForbiddenError,
    "foreign_origin": ForbiddenError,
    "read_only": ReadOnlyError,
    "replica": ReadOnlyError,
    "busy": BusyError,
    "job_running": BusyError,
    "bucket_unavailable": BucketUnavailableError,
    "outcome_unknown": OutcomeUnknownError,
    "no_transactions": NoTransactionsError,
    "job_not_found": JobNotFoundError,
    "backup_exists": StoreExistsError,
    "full": StoreFullError,
    "corrupt": CorruptError,
    "file_truncated": CorruptError,
    "compacted": CompactedError,
    "no_such_path": UnsupportedError,
    "method_not_allowed": UnsupportedError,
}
STATUSES: Dict[int, Type[MaphError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: UnsupportedError,
    405: UnsupportedError,
    410: CompactedError,
    412: PreconditionFailedError,
    413: TooLargeError,
    414: TooLargeError,
    429: BusyError,
    431: TooLargeError,
    503: BusyError,
    507: StoreFullError,
}


def from_answer(request: str, status: int, headers: Mapping[str, str], body: bytes) -> MaphError:
    """The exception for an answer that is an error."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    return from_problem(problem if isinstance(problem, dict) else {}, request, status, headers)


def from_problem(
    problem: Mapping[str, object], request: str, status: int, headers: Mapping[str, str]
) -> MaphError:
    code = str(problem.get("code", ""))
    kind = (
        CODES.get(code)
        or STATUSES.get(status)
        or (OutcomeUnknownError if _in_doubt(status, request) else None)
        or (BadRequestError if 400 <= status < 500 else ServerError)
    )
    detail = str(problem.get("detail") or problem.get("title") or _unexplained(status, headers))
    return kind(
        detail,
        request=request,
        status=status,
        code=code,
        request_id=str(problem.get("request_id", "")),
        problem=problem,
        headers=headers,
    )


def _in_doubt(status: int, request: str) -> bool:
    """A gateway that waited in vain does not know what became of a write; what only reads is no
    more than that."""
    return status == 504 and not request.startswith(("GET ", "HEAD "))


def _unexplained(status: int, headers: Mapping[str, str]) -> str:
    """maph-server explains every error, so this answer came from something before it."""
    place = {name.lower(): value for name, value in headers.items()}.get("location")
    if 300 <= status < 400 and place:
        return (
            f"HTTP status {status}, which leads to {place}: a redirection is not followed, "
            "give MaphClient the address behind it"
        )
    return (
        f"HTTP status {status} without a reason: not an answer of maph-server, "
        "look at what stands before it"
    )


def no_answer_of_maph(request: str, status: int) -> MaphError:
    return ServerError(
        f"HTTP status {status}, but not an answer of maph-server: is this its address?",
        request=request,
        status=status,
    )
