"""What git does to the bytes of a file between repository and work tree, by its attributes (convert.c, on Linux).

In git's order: `ident`, line ends, `working-tree-encoding`. Filters are programs that git's configuration names; a
fresh clone has none but those of the machine, and neither has the cloner.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .attributes import Value

_ID = re.compile(rb"\$Id(?:\$|:([^$\n]*)\$)")
_HEAD = b"$Id\0"
_CLOSING = re.compile(rb"[$\n]")
_BLANK_INSIDE = re.compile(rb"[ \t\n\r](?!\$)")
_NOT_PRINTABLE = bytes(each for each in range(32) if each not in b"\b\t\x1b\x0c\r\n") + b"\x7f"
_PLAIN_UTF8 = frozenset({"utf-8", "utf8"})
# Encodings that text files have; Python's others (punycode, unicode_escape, …) are none that git's iconv knows.
_ENCODING = re.compile(
    r"(?:utf-?(?:7|16|32)|ucs-|us-?ascii|iso-?8859|latin|windows-|cp|ibm|koi8|mac|shift|sjis|euc|gb|big5|johab|tis|hz|ptcp)[\w-]*\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is to be done with a file; `crlf`: always, or only if it looks like text without such line ends.

    `complete`: git does it on the complete content; on a stream of it, it finds `$Id$` at other offsets.
    """

    ident: bool = False
    crlf: Literal["", "text", "auto"] = ""
    encoding: str = ""
    filter: str = ""
    complete: bool = False

    @property
    def changes(self) -> bool:
        """Whether the bytes may become others."""
        return bool(self.ident or self.crlf or self.encoding)


NOTHING = Conversion()


class CannotEncode(Exception):
    """The content cannot be written in the wanted encoding; git then keeps it as it is, except for the steps before."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        super().__init__("cannot be encoded")


def conversion_of(attributes: Mapping[str, Value]) -> Conversion:
    """What the attributes of a file mean on Linux, with git's default configuration.

    >>> conversion_of({"text": True, "eol": "crlf"}).crlf
    'text'
    >>> conversion_of({"text": False, "eol": "crlf"}).crlf
    ''
    """
    action = _line_ends(attributes.get("text")) or _line_ends(attributes.get("crlf"))
    crlf: Literal["", "text", "auto"] = ""
    if action != "binary" and attributes.get("eol") == "crlf":
        crlf = "auto" if action == "auto" else "text"
    named, name = attributes.get("working-tree-encoding"), attributes.get("filter")
    encoding = named if isinstance(named, str) and named.lower() not in _PLAIN_UTF8 else ""
    found = Conversion(
        ident=attributes.get("ident") is True,
        crlf=crlf,
        encoding=encoding,
        filter=name if isinstance(name, str) else "",
        complete=bool(encoding) or (action == "auto" and attributes.get("eol") != "lf"),
    )
    return found if found.changes or found.filter else NOTHING


def _line_ends(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "text" if value else "binary"
    return value if value in {"input", "auto"} else ""


def convert(content: bytes, conversion: Conversion, object_id: bytes) -> bytes:
    """The content as it lies in the work tree.

    Raises:
        CannotEncode: It cannot be written in the wanted encoding; `content` is what lies there instead.
    """
    if conversion.ident:
        expanded = b": " + object_id.hex().encode() + b" $"
        content = (_expanded if conversion.complete else _expanded_in_stream)(content, expanded)
    if conversion.crlf and _wants_crlf(content, conversion.crlf):
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if conversion.encoding and content:
        return _encoded(content, conversion.encoding)
    return content


def _expanded(content: bytes, expanded: bytes) -> bytes:
    """`$Id$` with the object's id; what another version control system wrote there stays (`ident_to_worktree`)."""
    out, at = bytearray(), 0
    while (found := _ID.search(content, at)) is not None:
        old = found[1] or b""
        blank = old.find(b" ", 1)
        kept = 0 <= blank < len(old) - 1
        end = found.start() + 1 if kept else found.end()
        out += content[at : found.start()] + (content[found.start() : end] if kept else b"$Id" + expanded)
        at = end
    return bytes(out + content[at:])


def _expanded_in_stream(content: bytes, expanded: bytes) -> bytes:
    """The same as git does it on a stream, step by step with what it does to halves of it (`ident_filter_fn`)."""
    out, left, at = bytearray(), bytearray(), 0
    while at < len(content):
        if not left:
            dollar = content.find(b"$", at)
            if dollar < 0:
                break
            out += content[at:dollar]
            at = dollar
        seen = 0
        while at < len(content) and seen < len(_HEAD) and content[at] == _HEAD[seen]:
            seen, at = seen + 1, at + 1
        left += _HEAD[:seen]
        if at == len(content):
            break
        after = content[at : at + 1]
        at += 1
        left += after
        if seen == len(b"$Id"):
            if after not in {b":", b"$"}:
                continue
            if after == b":":
                end = _CLOSING.search(content, at)
                stop = end.end() if end else len(content)
                left += content[at:stop]
                at = stop
                if end is None or end[0] == b"\n" or _is_foreign(left):
                    out += left
                    left.clear()
                    continue
            left[:] = b"$Id" + expanded if after == b":" else left[:-1] + expanded
        out += left
        left.clear()
    return bytes(out + left + content[at:])


def _is_foreign(text: bytearray) -> bool:
    """Whether this is an id of another version control system: with blanks inside."""
    line = bytes(text).partition(b"\0")[0]
    return line.startswith(b"$Id: ") and _BLANK_INSIDE.search(line, len(b"$Id: ")) is not None


def _wants_crlf(content: bytes, mode: str) -> bool:
    """Whether there is a bare line feed; with `auto`, in a text without any carriage return."""
    crlf = content.count(b"\r\n")
    if content.count(b"\n") == crlf:
        return False
    if mode == "text":
        return True
    if b"\r" in content or b"\0" in content:
        return False
    odd = len(content) - len(content.translate(None, _NOT_PRINTABLE))
    printable = len(content) - odd - content.count(b"\n")
    return printable >> 7 >= odd - content.endswith(b"\x1a")


def _encoded(content: bytes, encoding: str) -> bytes:
    mark, name = b"", encoding
    if (marked := re.fullmatch(r"utf-?16([lb])e-bom", encoding, re.IGNORECASE)) is not None:
        little = marked[1] in "lL"
        mark, name = (codecs.BOM_UTF16_LE, "utf-16-le") if little else (codecs.BOM_UTF16_BE, "utf-16-be")
    try:
        if not _ENCODING.match(name):
            raise LookupError(name)
        return mark + content.decode("utf-8").encode(name)
    except (LookupError, ValueError) as error:
        raise CannotEncode(content) from error
