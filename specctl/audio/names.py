"""Names of files as text: keys of a store, and paths that mean the same in every locale."""

import os
import re
import unicodedata
from collections.abc import Container

_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def encode_key(relative: bytes) -> str:
    """Key of a relative path: any bytes to valid UTF-8, reversibly.

    A byte that is not UTF-8 becomes ``%XX``, and a ``%`` that would read like such a code
    becomes ``%25``; all other names, "100%" too, stay as they are.
    """
    if b"%" in relative:
        relative = _ESCAPED.sub(rb"%25\1", relative)
    text = relative.decode("utf-8", "surrogateescape")
    if text.isascii():
        return text
    return _NOT_UTF8.sub(lambda match: f"%{ord(match[0]) - 0xDC00:02X}", text)


def key_of(name: str, keys: Container[str]) -> str:
    """The key of the file that somebody calls ``name``: by its key, or as it is on the disk.

    Accents may be parts of their letters or characters of their own, as in names from a Mac.
    """
    if name in keys:
        return name
    forms = (name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD")))
    ways = (*forms, *(encode_key(each.encode(errors="surrogateescape")) for each in forms))
    return next((each for each in ways if each in keys), name)


def decode_key(key: str) -> bytes:
    """Relative path that `encode_key` made ``key`` of."""
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), key.encode())


def shared_name(path: str) -> str:
    """A path, or a part of one, as text that is the same in every locale: UTF-8, reversibly."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def local_path(name: str) -> str:
    """The path that `shared_name` was given, as ``os.fsdecode`` gives it here."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))
