"""The library's codes as exceptions, each named after its code."""

from __future__ import annotations

from typing import Dict, Optional, Type

__all__ = [
    "Error",
    "BusyError",
    "CancelledError",
    "CantOpenError",
    "CompactedError",
    "ConflictError",
    "CorruptError",
    "ExistsError",
    "FormatError",
    "FullError",
    "IoErrError",
    "MismatchError",
    "MisuseError",
    "NoMemError",
    "NotFoundError",
    "ReadOnlyError",
    "RecoverError",
    "TooBigError",
    "KeyNotFoundError",
    "MaphError",
    "StoreFullError",
    "TooLargeError",
]


class Error(Exception):
    """Any failure of the library; `code` is its number in maph.h."""

    code = 0
    version: Optional[int] = None  #: the version found, when a write's condition did not hold

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__


class NotFoundError(Error, KeyError):
    """No such key, or it expired."""

    code = 1


class ExistsError(Error):
    """The key or file is there already, and that was not wanted."""

    code = 2


class ConflictError(Error):
    """The key is not at the version asked for; or a snapshot's transaction was rolled back."""

    code = 3


class BusyError(Error):
    """Another writer held the store for the whole busy timeout."""

    code = 4


class ReadOnlyError(Error):
    """A write through a store that was opened for reading."""

    code = 5


class FullError(Error):
    """No room: disk, quota, file-size limit, or the format's 8 TiB."""

    code = 6


class TooBigError(Error, ValueError):
    """A key, value or media type longer than the format holds."""

    code = 7


class NoMemError(Error, MemoryError):
    """Out of memory or address space."""

    code = 8


class IoErrError(Error):
    """The operating system failed a read, write or flush."""

    code = 9


class CorruptError(Error):
    """The file contradicts itself at the place named."""

    code = 10


class FormatError(Error):
    """Not a maph file, or of a format this library does not know."""

    code = 11


class RecoverError(Error):
    """Not closed cleanly before a power loss, or a copy of a live file: open it for writing
    once."""

    code = 12


class MisuseError(Error, ValueError):
    """The call itself is wrong: empty key, closed store, ended transaction, a store of another
    process."""

    code = 13


class CantOpenError(Error):
    """Missing, no permission, not a regular file, on a network file system, or no lock file."""

    code = 14


class CompactedError(Error):
    """The changes asked for are no longer in the file: read all of it, then go on from its
    version."""

    code = 15


class CancelledError(Error):
    """A progress function said stop: nothing was changed."""

    code = 16


class MismatchError(Error):
    """A value that counts is no whole number of 64 bits, or the sum would be none."""

    code = 17


# The names that maph_client has for the same.
MaphError = Error
KeyNotFoundError = NotFoundError
StoreFullError = FullError
TooLargeError = TooBigError

CODES: Dict[int, Type[Error]] = {kind.code: kind for kind in Error.__subclasses__()}
