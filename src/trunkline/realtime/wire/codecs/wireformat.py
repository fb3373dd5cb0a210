"""The wire format of Protobuf, as much as the client protocol needs of it: no groups, no packed lists.

https://protobuf.dev/programming-guides/encoding/ describes it. A `Table` has the fields of a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from trunkline.realtime.wire.codecs.base import MOST_COMMANDS, InvalidFrame, raw, too_many

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

__all__ = ["Field", "Table", "read_all", "write_all", "write_one"]

KINDS: Final = ("text", "payload", "message", "bool", "uint32", "int32", "uint64", "int64")
TEXT, PAYLOAD, MESSAGE, BOOL, UINT32, INT32, UINT64, INT64 = range(8)  # those before BOOL have a length
ONE, LIST, DICT = range(3)

VARINT, I64, LEN, I32 = 0, 1, 2, 5  # wire types
KEY, VALUE = 1 << 3 | LEN, 2 << 3  # tags in an entry of a dict; VALUE without its wire type
BYTES: list[bytes] = [bytes((number,)) for number in range(256)]
MASK = 0xFFFF_FFFF_FFFF_FFFF


@cython.final
@cython.cclass
class Field:
    """A field of a message.

    Args:
        name: of the attribute that has its value.
        number: in the schema.
        kind: one of `KINDS`.
        shape: None if it has one value, `list` for a list of them, `dict` for one with text for keys.
        default: value that isn't sent.
    """

    def __init__(self, name: str, number: int, kind: str, shape: type | None, default: object) -> None:
        self.name = name
        self.kind = KINDS.index(kind)
        self.shape = LIST if shape is list else DICT if shape is dict else ONE
        self.tag = number << 3 | (LEN if shape is dict else wire_type(self.kind))
        self.written = varint(self.tag)
        self.written_value = BYTES[VALUE | wire_type(self.kind)]
        self.default = default
        self.table: Any = None  # that of a message


@cython.final
@cython.cclass
class Table:
    """The fields of a message.

    Args:
        struct: class of the message.
        fields: in the order in which they are written.
    """

    def __init__(self, struct: type[Any], fields: list[Field]) -> None:
        self.struct = struct
        self.fields = fields
        self.by_tag: dict[int, Field] = {field.tag: field for field in fields}


@cython.cfunc
def wire_type(kind: cython.int) -> cython.int:
    return LEN if kind < BOOL else VARINT


# Writing: parts in their order, and the length of a message in its place once it is known


def write_all(messages: Iterable[Any], table: Table) -> bytes:
    """Messages, each with its length before it.

    Args:
        messages: objects with the attributes that the fields name.
        table: of their fields.
    """
    parts: list[bytes] = []
    for message in messages:
        write_sized(parts, message, table)
    return b"".join(parts)


def write_one(message: Any, table: Table) -> bytes:
    """A message without its length, which can stand for the message in another one."""
    parts: list[bytes] = []
    write(parts, message, table)
    return b"".join(parts)


@cython.cfunc
def write_sized(parts: list, message: object, table: Table) -> cython.Py_ssize_t:  # type: ignore[type-arg]
    """Append a message with its length before it; returns how many bytes that are."""
    place: cython.Py_ssize_t = len(parts)
    parts.append(b"")
    size: cython.Py_ssize_t = write(parts, message, table)
    length: bytes = varint(size)
    parts[place] = length
    return len(length) + size


@cython.cfunc
def write(parts: list, message: object, table: Table) -> cython.Py_ssize_t:  # type: ignore[type-arg]
    size: cython.Py_ssize_t = 0
    field: Field
    for field in table.fields:
        value: Any = getattr(message, field.name)
        if value is field.default or not value:
            continue
        if field.shape == ONE:
            size += write_value(parts, field.written, field, value)
        elif field.shape == LIST:
            for item in value:
                size += write_value(parts, field.written, field, item)
        else:
            for key, item in value.items():
                size += write_entry(parts, field, key, item)
    return size


@cython.cfunc
def write_entry(parts: list, field: Field, key: str, item: object) -> cython.Py_ssize_t:  # type: ignore[type-arg]
    """A dict is a list of entries, which have the fields key = 1 and value = 2."""
    place: cython.Py_ssize_t = len(parts)
    parts.append(b"")
    size: cython.Py_ssize_t = write_bytes(parts, BYTES[KEY], key.encode())
    size += write_value(parts, field.written_value, field, item)
    head: bytes = field.written + varint(size)
    parts[place] = head
    return len(head) + size


@cython.cfunc
def write_value(parts: list, tag: bytes, field: Field, value: object) -> cython.Py_ssize_t:  # type: ignore[type-arg]
    if field.kind == MESSAGE:
        if type(value) is bytes:  # that of `write_one`
            return write_bytes(parts, tag, value)
        parts.append(tag)
        return len(tag) + write_sized(parts, value, field.table)
    if field.kind == TEXT:
        text: Any = value
        return write_bytes(parts, tag, text.encode())
    if field.kind == PAYLOAD:
        payload: Any = value
        return write_bytes(parts, tag, bytes(payload))
    number: Any = value
    data: bytes = varint(number & MASK)
    parts.append(tag)
    parts.append(data)
    return len(tag) + len(data)


@cython.cfunc
def write_bytes(parts: list, tag: bytes, data: bytes) -> cython.Py_ssize_t:  # type: ignore[type-arg]
    length: bytes = varint(len(data))
    parts.append(tag)
    parts.append(length)
    parts.append(data)
    return len(tag) + len(length) + len(data)


@cython.cfunc
def varint(number: cython.ulonglong) -> bytes:
    """Seven bits to a byte, the lowest first."""
    if number < 0x80:
        return BYTES[number]
    if number < 0x4000:
        return BYTES[number & 0x7F | 0x80] + BYTES[number >> 7]
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


# Reading


def read_all(frame: bytes, table: Table) -> list[Any]:
    """The messages in a frame, each with its length before it.

    Args:
        frame: at most `MOST_COMMANDS` of them.
        table: of their fields.

    Raises:
        InvalidFrame: if it is something else.
    """
    messages: list[Any] = []
    reading: Reading = Reading(frame)
    end: cython.Py_ssize_t = len(frame)
    while reading.at < end:
        if len(messages) == MOST_COMMANDS:
            raise too_many()
        size: cython.Py_ssize_t = reading.length(end)
        messages.append(reading.message(table, reading.at + size))
    return messages


@cython.final
@cython.cclass
class Reading:
    """A place in a frame.

    Args:
        data: the frame.

    Attributes:
        at: the place. Each method moves it behind what it reads, and stays before `end`.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @cython.cfunc
    def message(self, table: Table, end: cython.Py_ssize_t) -> object:
        """A message that takes all up to the end. A field that is there twice has its last value."""
        values: dict[str, Any] = {}
        field: Field
        while self.at < end:
            tag: cython.ulonglong = self.number(end)
            if not 0 < tag >> 3 < 1 << 29:
                raise InvalidFrame(f"a field has the number {tag >> 3}")
            match: Field | None = table.by_tag.get(tag)
            if match is None:  # unknown, or not of the type that we know
                self.skip(tag & 7, end)
                continue
            field = match
            if field.shape == ONE:
                values[field.name] = self.value(field, end)
            elif field.shape == LIST:
                values.setdefault(field.name, []).append(self.value(field, end))
            else:
                self.entry(values.setdefault(field.name, {}), field, end)
        return table.struct(**values)

    @cython.cfunc
    def entry(self, values: dict, field: Field, end: cython.Py_ssize_t) -> None:  # type: ignore[type-arg]
        """An entry of a dict: without a key or a value it has the empty one."""
        stop: cython.Py_ssize_t = self.length(end) + self.at
        value_tag: cython.ulonglong = VALUE | wire_type(field.kind)
        key: str = ""
        item: Any = Reading(b"\0").value(field, 1)
        while self.at < stop:
            tag: cython.ulonglong = self.number(stop)
            if tag == KEY:
                key = self.text(stop)
            elif tag == value_tag:
                item = self.value(field, stop)
            else:
                self.skip(tag & 7, stop)
        values[key] = item

    @cython.cfunc
    def value(self, field: Field, end: cython.Py_ssize_t) -> object:
        kind: cython.int = field.kind
        if kind == TEXT:
            return self.text(end)
        if kind == PAYLOAD:
            return raw(self.chunk(end))
        if kind == MESSAGE:
            return self.message(field.table, self.length(end) + self.at)
        number: cython.ulonglong = self.number(end)
        if kind == BOOL:
            return number != 0
        if kind == UINT32:  # numbers of 32 bits are the lower half of what is on the wire
            return number & 0xFFFF_FFFF
        if kind == INT32:
            return signed(number << 32 & MASK) >> 32
        if kind == INT64:
            return signed(number)
        if number >> 63:
            raise InvalidFrame(f"{number} is out of range")
        return number

    @cython.cfunc
    def text(self, end: cython.Py_ssize_t) -> str:
        data: bytes = self.chunk(end)
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise InvalidFrame("a string isn't UTF-8") from None

    @cython.cfunc
    def chunk(self, end: cython.Py_ssize_t) -> bytes:
        size: cython.Py_ssize_t = self.length(end)
        self.at += size
        return self.data[self.at - size : self.at]

    @cython.cfunc
    def skip(self, kind: cython.int, end: cython.Py_ssize_t) -> None:
        """Pass over a value of a wire type."""
        if kind == VARINT:
            self.number(end)
            return
        if kind not in (LEN, I64, I32):
            raise InvalidFrame(f"a field has the wire type {kind}")
        size: cython.Py_ssize_t = self.length(end) if kind == LEN else 8 if kind == I64 else 4
        if size > end - self.at:
            raise InvalidFrame("a number is cut short")
        self.at += size

    @cython.cfunc
    def length(self, end: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """The number of bytes that follow; so many are there."""
        size: cython.ulonglong = self.number(end)
        left: cython.ulonglong = end - self.at
        if size > left:
            raise InvalidFrame(f"{size} bytes should follow, but only {left} do")
        return size

    @cython.cfunc
    def number(self, end: cython.Py_ssize_t) -> cython.ulonglong:
        number: cython.ulonglong = 0
        shift: cython.int = 0
        while self.at < end and shift < 70:
            byte: cython.ulonglong = self.data[self.at]
            self.at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number & MASK
            shift += 7
        raise InvalidFrame("a number is cut short, or longer than ten bytes")


@cython.cfunc
def signed(number: cython.ulonglong) -> cython.longlong:
    """A number of 64 bits in two's complement."""
    if cython.compiled:
        return cython.cast(cython.longlong, number)
    return number - (1 << 64) if number >> 63 else number
