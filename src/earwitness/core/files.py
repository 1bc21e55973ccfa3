"""Files that are whole or not there: atomic writes, hashes, names safe on every disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes ``path``'s place.

    A reader sees the old file or the new one, never half of either. The folder is made if it
    is missing. Nothing is left behind when the block raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _take_usual_mode(temporary)
        with temporary.open("r+b") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _take_usual_mode(path: Path) -> None:
    """Give ``path`` the mode a plain ``open`` would have: ``mkstemp`` keeps others out."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with line feeds at line ends, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically.

    Raises:
        ValueError: ``value`` holds a NaN or an infinity, which JSON cannot say.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_stem(name: str) -> str:
    """Return ``name`` as a file name: ``/`` becomes ``__``, ``@`` becomes ``--``.

    Characters that a disk may refuse become ``_``, so a name out of a CSV cannot leave its folder.
    """
    name = name.replace("/", "__").replace("@", "--")
    safe = "".join(c if c.isalnum() or c in "._-+= ()" else "_" for c in name).strip(" .")
    return safe or "_"
