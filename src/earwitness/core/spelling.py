"""Spellings of one text: Unicode normal form, and paths."""

from __future__ import annotations

import posixpath
import unicodedata


def compose(text: str) -> str:
    """Return ``text`` in Unicode normal form C: "é" as one code point, however it was typed."""
    return unicodedata.normalize("NFC", text)


def tidy_path(path: str) -> str:
    """Return one spelling of a path: NFC, forward slashes, without ``.``, ``..`` and ``//``.

    The disk is not asked: ``./a/../b`` becomes ``b`` whether ``a`` exists or not.
    """
    return posixpath.normpath(compose(path).replace("\\", "/"))
