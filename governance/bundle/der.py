"""Reads DER (ITU-T X.690): as much of it as a time-stamp token is made of. Standard library only.

Strict: definite lengths in their shortest form, tags of one byte, nothing behind the end. What is laid out otherwise
raises ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

BOOLEAN, INTEGER, OCTETS, OID, TIME = 0x01, 0x02, 0x04, 0x06, 0x18
SEQUENCE, SET = 0x30, 0x31


@dataclass(frozen=True, slots=True)
class Element:
    """One value. ``whole`` is the value with its tag and length."""

    tag: int
    content: bytes
    whole: bytes

    def children(self, tag: int = SEQUENCE) -> list[Element]:
        """The values inside this one, which must have the given tag."""
        return list(_elements(self.expect(tag).content))

    def expect(self, tag: int) -> Element:
        if self.tag != tag:
            raise ValueError(f"a DER value with the tag {self.tag:#04x} where {tag:#04x} belongs")
        return self

    def octets(self) -> bytes:
        return self.expect(OCTETS).content

    def integer(self) -> int:
        content = self.expect(INTEGER).content
        if not content or (len(content) > 1 and content[0] in (0, 0xFF) and (content[0] ^ content[1]) < 0x80):
            raise ValueError("a DER integer that is not in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    def oid(self) -> str:
        """The object identifier with dots."""
        content = self.expect(OID).content
        numbers, value = [], 0
        for index, byte in enumerate(content):
            if value == 0 and byte == 0x80:
                raise ValueError("a DER object identifier that is not in its shortest form")
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                numbers.append(value)
                value = 0
            elif index == len(content) - 1:
                raise ValueError("a DER object identifier that is cut short")
        if not numbers:
            raise ValueError("an empty DER object identifier")
        first = min(numbers[0] // 40, 2)
        return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))

    def time(self) -> datetime:
        """A GeneralizedTime in UTC, with or without a fraction of a second."""
        text = self.expect(TIME).content.decode("ascii")
        form = "%Y%m%d%H%M%S.%fZ" if "." in text else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text[:21] + "Z" if len(text) > 22 else text, form).replace(tzinfo=UTC)


def read(data: bytes) -> Element:
    """The one value that these bytes are."""
    found = list(_elements(data))
    if len(found) != 1:
        raise ValueError("not exactly one DER value")
    return found[0]


def _elements(data: bytes) -> Iterator[Element]:
    at = 0
    while at < len(data):
        tag, begin, end = _header(data, at)
        yield Element(tag, data[begin:end], data[at:end])
        at = end


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag of the value at this place, and where its content begins and ends."""
    if at + 2 > len(data):
        raise ValueError("a DER value that is cut short")
    tag, length, begin = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F:
        raise ValueError("a DER tag of more than one byte")
    if length >= 0x80:
        width = length & 0x7F
        told = data[begin : begin + width]
        length, begin = int.from_bytes(told, "big"), begin + width
        if not 1 <= width <= 4 or len(told) != width or told[0] == 0 or length < 0x80:
            raise ValueError("a DER length that is indefinite, too long or not in its shortest form")
    if begin + length > len(data):
        raise ValueError("a DER value that is cut short")
    return tag, begin, begin + length
