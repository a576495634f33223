"""Keys, values and entries, and how JSON carries them.

A store holds bytes.  What was put as str comes back as str, what was put as bytes as bytes, because
the server keeps each value's type; what C wrote is bytes, what SQL wrote as TEXT is str.  In JSON,
bytes that are not UTF-8 travel as base64.
"""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Dict, Mapping, Optional, Union

Key = Union[str, bytes]
Value = Union[str, bytes]

TTL_MOST = 100_000_000_000
LATEST = 2**63 - 1
TEXT_TYPES = ("text", "json", "integer", "real")


def key_bytes(key: Key) -> bytes:
    raw = as_bytes(key, "a key")
    if not raw:
        raise ValueError("a key has at least one byte")
    return raw


def as_bytes(data: Any, what: str = "a value") -> bytes:
    if isinstance(data, str):
        try:
            return data.encode("utf-8")
        except UnicodeEncodeError as error:
            error.reason = (
                f"{what} has half a surrogate pair, so it is no text; "
                "os.fsencode() makes bytes of the name of a file"
            )
            raise
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(
        f"{what} is str or bytes, not {type(data).__name__}; json.dumps() makes a str of most "
        "things"
    )


def is_text(kind: str, media_type: str) -> bool:
    media = media_type.partition(";")[0].strip().lower()
    return (
        kind in TEXT_TYPES
        or media.startswith("text/")
        or media == "application/json"
        or media.endswith("+json")
    )


def as_value(raw: bytes, kind: str, media_type: str) -> Value:
    """The bytes as what they were put as."""
    if is_text(kind, media_type):
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return raw


def content_type_of(value: Any) -> Optional[str]:
    """What must be said at a put for the value to come back as the kind it is; None: nothing, the
    server sees that it is text."""
    if isinstance(value, str):
        return "text/plain; charset=utf-8" if "\0" in value else None
    return "application/octet-stream"


def as_key(raw: bytes) -> Key:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw


def put_member(
    json_object: Dict[str, object], name: str, encoding: str, data: object, what: str = "a value"
) -> None:
    """A member of bytes or text: as it is when it is text, else base64 and a member that says
    so."""
    raw = as_bytes(data, what)
    if isinstance(data, str):
        json_object[name] = data
    else:
        json_object[name] = base64.b64encode(raw).decode("ascii")
        json_object[encoding] = "base64"


def member_text(json_object: Mapping[str, object], name: str) -> str:
    """A sentence of the server's, whatever bytes it quotes."""
    return member_bytes(json_object, name, f"{name}_encoding").decode("utf-8", "replace")


def member_bytes(json_object: Mapping[str, object], name: str, encoding: str) -> bytes:
    text = str(json_object.get(name, ""))
    return (
        base64.b64decode(text) if json_object.get(encoding) == "base64" else text.encode("utf-8")
    )


def whole(what: str, number: int, least: int = 0) -> int:
    """As it is, where it is a whole number at all."""
    if not isinstance(number, int):
        raise TypeError(f"{what} is a whole number, not {type(number).__name__}")
    if number < least:
        raise ValueError(f"{what} is {least} or more, not {number}")
    return number


def conditions(if_version: Optional[int], if_absent: bool, if_present: bool) -> None:
    """A write has one, or none."""
    if (if_version is not None) + bool(if_absent) + bool(if_present) > 1:
        raise ValueError("one of if_version, if_absent, if_present")
    if if_version is not None:
        whole("if_version", if_version)


def is_number(data: object) -> bool:
    return isinstance(data, Real)


def whole_seconds(ttl: Optional[float]) -> Optional[int]:
    """A time to live as HTTP takes it: rounded up, so that nothing is gone too early, and no more
    than the server takes."""
    if ttl is None:
        return None
    if not is_number(ttl):
        raise TypeError(
            f"ttl is a number of seconds, not {type(ttl).__name__}; a timedelta has total_seconds()"
        )
    if math.isnan(ttl):
        raise ValueError("ttl is a number of seconds, not NaN")
    return math.ceil(max(-1, min(ttl, TTL_MOST)))


def one_name(content_type: Optional[str], media_type: Optional[str]) -> Optional[str]:
    """Which of the two names for it was used."""
    if content_type and media_type and content_type != media_type:
        raise ValueError("content_type and media_type are one thing: give one of them")
    found = content_type or media_type
    if found is not None and not isinstance(found, str):
        raise TypeError(f"content_type is a str, not {type(found).__name__}")
    return found or None


@dataclass(frozen=True)
class Entry:
    """A key with its value and what the store knows of it."""

    key: Key
    value: Value
    version: int = 0  #: of the transaction that put it
    type: str = ""  #: blob, text, json, integer, real or null; "" lets the value decide
    media_type: str = ""  #: the Content-Type it was put with
    expires_at: Optional[int] = None  #: milliseconds since 1970
    key_is_text: Optional[bool] = None  #: what SQL said of the key; None: nobody said

    @property
    def content_type(self) -> str:
        """media_type by the name that puts have for it, as in maph."""
        return self.media_type

    @classmethod
    def from_json(cls, member: Mapping[str, object]) -> "Entry":
        """Of an object as export, scan and changes have it."""
        kind = str(member.get("type", "" if "encoding" in member else "text"))
        media = member_bytes(member, "media_type", "media_type_encoding").decode("latin-1")
        others: Mapping[str, Any] = member
        return cls(
            key=as_key(member_bytes(member, "key", "key_encoding")),
            value=as_value(member_bytes(member, "value", "encoding"), kind, media),
            version=int(others.get("version", 0)),
            type=kind,
            media_type=media,
            expires_at=others.get("expires_at"),
            key_is_text=others.get("key_is_text"),
        )

    def to_json(self) -> Dict[str, object]:
        """As export writes it and import reads it."""
        member: Dict[str, object] = {}
        put_member(member, "key", "key_encoding", self.key, "a key")
        put_member(member, "value", "encoding", self.value)
        if self.type:
            member["type"] = self.type
        if self.media_type:
            put_member(member, "media_type", "media_type_encoding", ascii_or_bytes(self.media_type))
        if self.expires_at is not None:
            member["expires_at"] = self.expires_at
        if self.key_is_text is not None:
            member["key_is_text"] = self.key_is_text
        return member

    def to_line(self) -> bytes:
        """The same as a line of JSON, with its newline: what import_lines takes."""
        return json.dumps(self.to_json(), ensure_ascii=False).encode("utf-8") + b"\n"


def ascii_or_bytes(text: str) -> Value:
    """Bytes read as latin-1 above become the same bytes again."""
    return text if text.isascii() else text.encode("latin-1")
