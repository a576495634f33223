"""libmaph.so.0 as ctypes sees it: the structs and functions of maph.h, no more.

The library is the one MAPH_LIBRARY names, else libmaph.so.0 where the dynamic loader finds it.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_int,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint64,
    c_void_p,
)
from numbers import Real
from typing import Any, List, Sequence, Tuple, Type

from .errors import CODES, Error

VERSION = "0.1.0"  # of the maph.h that this file follows


class Slice(Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t)]


class Input(Structure):
    """A maph_slice for the library to read: it takes a bytes object as it is, and keeps it
    alive."""

    _fields_ = [("data", c_char_p), ("size", c_size_t)]


class Entry(Structure):
    _fields_ = [
        ("key", Slice),
        ("value", Slice),
        ("version", c_uint64),
        ("expires", c_uint64),
        ("type", c_int),
        ("key_type", c_int),
        ("media_type", Slice),
    ]


class Options(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("durability", c_int),
        ("busy_timeout_ms", c_int),
        ("expected_keys", c_uint64),
        ("verify", c_int),
        ("prefault", c_int),
        ("lock_memory", c_int),
        ("advice", c_int),
        ("huge_pages", c_int),
        ("mode", c_int),
        ("perfect_hash", c_int),
        ("auto_compact", c_int),
        ("after_version", c_uint64),
        ("versions", c_int),
        ("uuid", c_uint8 * 16),
    ]


class Stats(Structure):
    _fields_ = [
        ("records", c_uint64),
        ("live_bytes", c_uint64),
        ("dead_bytes", c_uint64),
        ("index_bytes", c_uint64),
        ("used_bytes", c_uint64),
        ("file_bytes", c_uint64),
        ("version", c_uint64),
        ("generation", c_uint64),
        ("flushed_bytes", c_uint64),
        ("segments", c_uint64),
        ("load_factor", c_double),
        ("uuid", c_uint8 * 16),
        ("poisoned", c_int),
        ("oldest_version", c_uint64),
        ("perfect_hash", c_int),
        ("direct", c_int),
        ("frozen_keys", c_uint64),
        ("moved_keys", c_uint64),
        ("later_keys", c_uint64),
        ("frozen_bytes", c_uint64),
        ("perfect_bits", c_double),
        ("order_bytes", c_uint64),
        ("order_runs", c_uint64),
        ("versions", c_int),
    ]


class Outcome(Structure):
    _fields_ = [("version", c_uint64), ("existed", c_int)]


#: By name: what ctypes' pointer() makes is of another type once a second interpreter loads ctypes.
OutcomePointer = POINTER(Outcome)


class Condition(Structure):
    _fields_ = [
        ("when", c_int),
        ("durability", c_int),
        ("version", c_uint64),
        ("expires", c_uint64),
        ("type", c_int),
        ("key_type", c_int),
        ("media_type", Input),
        ("outcome", OutcomePointer),
    ]


class Rewrite(Structure):
    _fields_ = [
        ("bytes_before", c_uint64),
        ("bytes_after", c_uint64),
        ("records", c_uint64),
        ("swept", c_uint64),
        ("caught_up", c_uint64),
        ("frozen_keys", c_uint64),
        ("perfect_hash", c_int),
        ("direct", c_int),
        ("perfect_bits", c_double),
        ("took_ns", c_uint64),
        ("pause_ns", c_uint64),
        ("memory_bytes", c_uint64),
        ("note", c_char * 160),
    ]


class LoadOptions(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("mode", c_int),
        ("busy_timeout_ms", c_int),
        ("after_version", c_uint64),
        ("expected_keys", c_uint64),
        ("memory_bytes", c_uint64),
        ("optimize", c_int),
        ("perfect_hash", c_int),
        ("progress", c_void_p),
        ("progress_arg", c_void_p),
        ("versions", c_int),
        ("uuid", c_uint8 * 16),
        ("into_empty", c_int),
    ]


class Range(Structure):
    _fields_ = [
        ("size", c_size_t),
        ("from", Input),
        ("to", Input),
        ("prefix", Input),
        ("limit", c_uint64),
        ("flags", c_int),
    ]


class Change(Structure):
    _fields_ = [("entry", Entry), ("deleted", c_int), ("last", c_int)]


STRUCTS: List[Tuple[str, Type[Structure]]] = [
    ("maph_slice", Slice),
    ("maph_slice", Input),
    ("maph_entry", Entry),
    ("maph_options", Options),
    ("maph_stats", Stats),
    ("maph_outcome", Outcome),
    ("maph_condition", Condition),
    ("maph_rewrite", Rewrite),
    ("maph_change", Change),
    ("maph_range", Range),
    ("maph_load_options", LoadOptions),
]

INT, UINT64 = 2**31 - 1, 2**64 - 1


def whole(what: str, number: int, most: int = UINT64) -> int:
    """For a field or argument that ctypes would cut to its size: a version of 2^64+7 is not version
    7."""
    if not isinstance(number, int):
        raise TypeError(f"{what} is a whole number, not {type(number).__name__}")
    if not 0 <= number <= most:
        raise ValueError(f"{what} is from 0 to {most}, not {number}")
    return number


def is_number(data: object) -> bool:
    return isinstance(data, Real)


def seconds(what: str, number: float) -> float:
    """As it is, where it is a number at all."""
    if not is_number(number):
        raise TypeError(
            f"{what} is a number of seconds, not {type(number).__name__}; a timedelta has "
            "total_seconds()"
        )
    if number != number:
        raise ValueError(f"{what} is a number of seconds, not NaN")
    return number


ProgressFunction = CFUNCTYPE(c_int, c_void_p, c_char_p, c_uint64, c_uint64)
ReportFunction = CFUNCTYPE(c_int, c_void_p, c_uint64, c_char_p)

P, I, U, K, S = c_void_p, c_int, c_uint64, Input, Slice
FUNCTIONS: List[Tuple[str, Any, Sequence[Any]]] = [
    ("maph_errmsg", c_char_p, [P]),
    ("maph_strerror", c_char_p, [I]),
    ("maph_version", c_char_p, []),
    ("maph_open", I, [c_char_p, I, POINTER(Options), POINTER(P)]),
    ("maph_close", I, [P]),
    ("maph_refresh", I, [P]),
    ("maph_interrupt", None, [P]),
    ("maph_sync", I, [P]),
    ("maph_destroy", I, [c_char_p, I]),
    ("maph_replace", I, [c_char_p, c_char_p, I]),
    ("maph_stat", I, [P, POINTER(Stats)]),
    ("maph_get", I, [P, K, POINTER(S)]),
    ("maph_get_entry", I, [P, K, POINTER(Entry)]),
    ("maph_get_many", I, [P, c_size_t, P, P]),
    ("maph_snapshot_open", I, [P, POINTER(P)]),
    ("maph_snapshot_get", I, [P, K, POINTER(S)]),
    ("maph_snapshot_get_entry", I, [P, K, POINTER(Entry)]),
    ("maph_snapshot_get_many", I, [P, c_size_t, P, P]),
    ("maph_snapshot_version", U, [P]),
    ("maph_snapshot_records", U, [P]),
    ("maph_snapshot_stat", I, [P, POINTER(Stats)]),
    ("maph_snapshot_close", None, [P]),
    ("maph_cursor_open", I, [P, P, K, POINTER(P)]),
    ("maph_cursor_next", I, [P, POINTER(Entry)]),
    ("maph_cursor_tell", U, [P]),
    ("maph_cursor_seek", I, [P, U]),
    ("maph_cursor_close", None, [P]),
    ("maph_range_open", I, [P, P, POINTER(Range), POINTER(P)]),
    ("maph_range_next", I, [P, POINTER(Entry)]),
    ("maph_range_prev", I, [P, POINTER(Entry)]),
    ("maph_range_seek", I, [P, K]),
    ("maph_range_estimate", U, [P]),
    ("maph_range_close", None, [P]),
    ("maph_put_if", I, [P, K, K, POINTER(Condition)]),
    ("maph_delete_if", I, [P, K, POINTER(Condition)]),
    ("maph_increment", I, [P, K, c_int64, POINTER(Condition), POINTER(c_int64)]),
    ("maph_txn_increment", I, [P, K, c_int64, POINTER(Condition), POINTER(c_int64)]),
    ("maph_txn_begin", I, [P, I, POINTER(P)]),
    ("maph_txn_put_if", I, [P, K, K, POINTER(Condition)]),
    ("maph_txn_delete_if", I, [P, K, POINTER(Condition)]),
    ("maph_txn_get", I, [P, K, POINTER(S)]),
    ("maph_txn_get_entry", I, [P, K, POINTER(Entry)]),
    ("maph_txn_at", I, [P, U]),
    ("maph_txn_savepoint", I, [P, I]),
    ("maph_txn_release", I, [P, I]),
    ("maph_txn_rollback_to", I, [P, I]),
    ("maph_txn_snapshot", I, [P, POINTER(P)]),
    ("maph_txn_commit", I, [P]),
    ("maph_txn_abort", I, [P]),
    ("maph_txn_version", U, [P]),
    ("maph_txn_operations", U, [P]),
    ("maph_compact", I, [P, ProgressFunction, P]),
    ("maph_optimize", I, [P, ProgressFunction, P]),
    ("maph_backup", I, [P, c_char_p, ProgressFunction, P]),
    ("maph_rewritten", I, [P, POINTER(Rewrite)]),
    ("maph_load_begin", I, [c_char_p, POINTER(LoadOptions), POINTER(P)]),
    ("maph_load_put", I, [P, K, K, POINTER(Condition)]),
    ("maph_load_at", I, [P, U]),
    ("maph_load_entries", U, [P]),
    ("maph_load_finish", I, [P]),
    ("maph_load_abort", I, [P]),
    ("maph_changes_open", I, [P, U, POINTER(P)]),
    ("maph_changes_next", I, [P, I, POINTER(Change)]),
    ("maph_changes_version", U, [P]),
    ("maph_changes_close", None, [P]),
    ("maph_check", I, [P, ReportFunction, P]),
    ("maph_recover", I, [c_char_p, ReportFunction, P]),
]


class Library:
    """The functions as attributes.  One that this library lacks raises when it is called."""

    def __init__(self, path: str) -> None:
        try:
            loaded = ctypes.CDLL(path)
        except OSError as error:
            raise ImportError(
                "maph needs libmaph.so.0 (make install puts it in place, ldconfig makes it known, "
                f"MAPH_LIBRARY names another): {error}"
            ) from error
        self.handle: int = loaded._handle  #: what dlopen gave
        for name, result, arguments in FUNCTIONS:
            try:
                function = getattr(loaded, name)
            except AttributeError:
                setattr(self, name, _missing(path, name))
                continue
            function.restype = result
            function.argtypes = arguments
            setattr(self, name, function)
        self.version: str = self.maph_version().decode()
        if self.version.split(".")[:2] != VERSION.split(".")[:2]:
            raise ImportError(f"{path} is libmaph {self.version}; this package is for {VERSION}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _missing(path: str, name: str) -> Any:
    def absent(*_: object) -> int:
        raise NotImplementedError(f"{path} has no {name}: it is older than this package")

    return absent


lib = Library(os.environ.get("MAPH_LIBRARY") or "libmaph.so.0")


#: What the library's sentences call the modes of open().
MODES = ("MAPH_RDWR|MAPH_CREATE", "c"), ("MAPH_RDWR", "w")


def failure(rc: int, handle: Any) -> Error:
    """The exception for a code, with the library's sentence about the calling thread's last
    failure."""
    sentence = (lib.maph_errmsg(handle) or lib.maph_strerror(rc)).decode("utf-8", "replace")
    for flags, mode in MODES:
        sentence = sentence.replace(f"open it with {flags}", f'open it with mode "{mode}"')
    return CODES.get(rc, Error)(sentence)
