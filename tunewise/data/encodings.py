"""Which encoding a text file is in: what the study says, what a byte order mark says, UTF-8, or a careful guess.

Undeclared bytes that are not UTF-8 are read as cp1252 (Western European, of which Latin-1 is a part) where they
then look like nothing else, and the user is told. Nothing else is guessed: the encodings of other languages
differ in what the same bytes mean, and a wrong one yields texts that look right to a program and to nobody else.
"""

from __future__ import annotations

import codecs
import gzip
import re
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING, cast

from tunewise.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MARKS = {
    # The longer first: the mark of UTF-32-LE begins with that of UTF-16-LE.
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WESTERN = "cp1252"
_LETTERS = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüÿœßÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜŸŒ")
"""Of Western European languages; š and ž, ð, ý and þ are where Central European, Turkish and Baltic texts show."""
_SIGNS = frozenset("‘’“”„‚«»‹›–—…€£¥©®™°§·•¡¿ºª²³½¼¾´\u00a0")
_FOREIGN = re.compile(r"[^\W\d_a-zA-Z]{3}|[^\W\d_][^\w\s\0-\x7f‘’–—…·´][^\W\d_]|[^\W\d_][²³¼½¾ºª][^\W\d_]")
"""Three letters beyond ASCII in a row, as in every other script; a sign inside a word, as in Polish or in DOS encodings."""
_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_MIN_ZEROS = 0.2
"""Of the first bytes; plain text in UTF-16 has nearly one half."""


@dataclass(frozen=True)
class Encoding:
    """The name under which Python decodes a file, and what to tell the user where it was guessed."""

    name: str
    note: str = ""


def open_bytes(file: Path) -> IO[bytes]:
    """Return the file opened for reading, unpacked where its name ends in ``.gz``."""
    return cast("IO[bytes]", gzip.open(file)) if file.suffix.lower() == ".gz" else file.open("rb")


def encoding_of(file: Path, declared: str | None) -> Encoding:
    """Return how ``file`` is to be decoded.

    Args:
        file: A text file, plain or gzipped.
        declared: What the study says; it is taken at its word unless a byte order mark contradicts it.

    Raises:
        DataError: If the declared encoding is unknown or contradicts the file's mark, or if the bytes are not UTF-8
            and it is not plain what they are.
    """
    with open_bytes(file) as data:
        head = data.read(_SAMPLE_BYTES)
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if declared is not None:
        return Encoding(_declared(file, declared, marked))
    if marked is not None:
        return Encoding(marked)
    _refuse_zeros(file, head)
    line = line_of_bad_bytes(file, "utf-8")
    return Encoding("utf-8") if line is None else _guessed(file, line)


def line_of_bad_bytes(file: Path, encoding: str) -> int | None:
    """Return the line in which decoding stops, or nothing where it does not."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with open_bytes(file) as data:
        try:
            while chunk := data.read(_CHUNK_BYTES):
                line += decoder.decode(chunk).count("\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return line + error.object[: error.start].decode(encoding, "ignore").count("\n")
        except UnicodeError:
            return line
    return None


def _declared(file: Path, declared: str, marked: str | None) -> str:
    try:
        codec = codecs.lookup(declared)
    except (LookupError, ValueError):
        codec = None
    if codec is None or not codec._is_text_encoding:  # noqa: SLF001 - what open() itself looks at
        raise DataError(f"encoding={declared!r} is unknown. Name one such as utf-8, utf-16, latin-1 or cp1252.")
    family = {"utf-8-sig": "utf-8"}.get(marked or "", marked)
    if marked and family and not codec.name.startswith(family):
        raise DataError(
            f"{file} starts with the byte order mark of {family}, and encoding={declared!r} was declared: one of the two is "
            "wrong, and the first column's name would be misread. Leave `encoding` out, or write the file again."
        )
    # A mark would otherwise become the first letter of the first column's name.
    return marked or declared


def _refuse_zeros(file: Path, head: bytes) -> None:
    """Refuse text in UTF-16 without a mark, which is UTF-8 with a zero in every second place, too."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if even + odd > _MIN_ZEROS * len(head):
        guess = "utf-16-be" if even > 2 * odd else "utf-16-le" if odd > 2 * even else None
        what = (
            f"It looks like UTF-16 without a byte order mark; if so, declare `encoding: {guess}` in the study's data."
            if guess
            else "It is no text, or was cut while it was written. Write it again."
        )
        raise DataError(f"{file} holds {even + odd:,} zero bytes among its first {len(head):,}. {what}")


def _guessed(file: Path, line: int) -> Encoding:
    sample = b"".join(islice(_lines_beyond_ascii(file), 2_000))[:_SAMPLE_BYTES]
    signs = [sign for sign in sample.decode("utf-8", "surrogateescape") if sign >= "\x80"]
    # A few characters of UTF-8 come about by chance in any other encoding.
    if 2 * sum("\udc80" <= sign <= "\udcff" for sign in signs) < len(signs):
        raise DataError(
            f"{file}, line {line}: bytes that are not utf-8, although other characters beyond ASCII are. The file is damaged or "
            "was put together of two. Write it again as UTF-8."
        )
    if _is_western(sample):
        note = (
            f"{file.name} is not UTF-8 (line {line}) and says nothing of its encoding. It was read as {_WESTERN}, which is what "
            f"it looks like. Look at a few texts, and declare `encoding: {_WESTERN}` to be sure."
        )
        return Encoding(_WESTERN, note)
    raise DataError(
        f"{file}, line {line}: bytes that are not utf-8, and what else they are is not plain. Name the encoding in the study's "
        "data, for instance `encoding: cp1252` (Western Europe), `cp1250` (Central Europe), `cp1251` (Cyrillic) or `shift_jis`, "
        "or write the file again as UTF-8."
    )


def _is_western(sample: bytes) -> bool:
    """Say whether bytes that are no UTF-8 look like a Western European language in cp1252, and like nothing else."""
    try:
        text = sample.decode(_WESTERN)
    except UnicodeDecodeError:
        return False
    found = {sign for sign in text if sign >= "\x80"}
    # Hungarian is where õ and û stand for other letters; languages that have them have others of these, too.
    is_hungarian = found & set("õûÕÛ") and not found & set("ãçèêàñÃÇÈÊÀÑ")
    return found <= _LETTERS | _SIGNS and not is_hungarian and _FOREIGN.search(text) is None


def _lines_beyond_ascii(file: Path) -> Iterator[bytes]:
    with open_bytes(file) as data:
        yield from (line[:_SAMPLE_BYTES] for line in data if not line.isascii())
