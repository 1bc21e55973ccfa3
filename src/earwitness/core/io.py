"""Atomic writes, hashes, and file names that are safe on every disk."""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import json
import os
import posixpath
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from earwitness.core.errors import EarwitnessError, RunError

if sys.platform != "win32":
    import fcntl

_MAX_STEM_BYTES = 180
_MARK = ".part"
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.part(\.[^.]+)?")
_REFUSALS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)
_FAILED_WRITING = {
    "PytorchStreamWriter failed": "the disk may be full",
    "unexpected pos": "the disk may be full",
    "No usable temporary directory": "no folder for temporary files; TMPDIR names one",
}
_swept: set[tuple[int, Path]] = set()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes ``path``'s place.

    A reader sees the old file or the new one, never half of either. The folder is made if it
    is missing. Nothing is left behind when the block raises; what a process that was killed left
    is removed by the next one that writes into the folder.

    Raises:
        RunError: The disk is full, or refuses the file for another reason.
    """
    with _describe_refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(path.parent)
        handle, temporary = _open_temporary(path)
        try:
            yield temporary
            _set_default_mode(temporary)
            with temporary.open("r+b") as file:  # Windows syncs only what may be written
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            if handle is not None:
                os.close(handle)


@contextlib.contextmanager
def _describe_refusals(path: Path) -> Iterator[None]:
    """Say in one line what the disk refused; libraries wrap it in errors of their own."""
    try:
        yield
    except RunError:
        raise  # of another file, in words already
    except Exception as error:
        if (reason := refusal(error)) is None or not _concerns(error, path):
            raise
        raise RunError(f"{path}: cannot be written ({reason})") from error


def _concerns(error: Exception, path: Path) -> bool:
    """Whether an error names no file, or one that is written here."""
    name = error.filename if isinstance(error, OSError) else None
    return name is None or Path(os.fsdecode(name)).parent in (path.parent, path.parent.parent)


def refusal(error: BaseException) -> str | None:
    """Return what the disk or the system refused, by an error or its text; ``None`` for others."""
    text = str(error)
    failed_writing = next((why for sign, why in _FAILED_WRITING.items() if sign in text), None)
    if isinstance(error, OSError) and error.errno is not None and failed_writing is None:
        return os.strerror(error.errno) if error.errno in _REFUSALS or error.filename else None
    by_text = (os.strerror(number) for number in _REFUSALS if os.strerror(number) in text)
    return next(by_text, failed_writing)


def _open_temporary(path: Path) -> tuple[int | None, Path]:
    """Make a temporary file beside ``path``; where there are locks, it is locked by the handle."""
    while True:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[: _MAX_STEM_BYTES // 4]}.",
            suffix=f"{_MARK}{path.suffix}",
            dir=path.parent,
        )
        if sys.platform == "win32":
            os.close(handle)
            return None, Path(name)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another process took it for left behind
            return handle, Path(name)
        os.close(handle)


def _sweep_once(folder: Path) -> None:
    """Remove what killed processes left in a folder, the first time this process writes there."""
    key = os.getpid(), folder.absolute()
    if key not in _swept:
        _swept.add(key)
        sweep(folder)


def sweep(folder: Path, *, below: bool = False) -> None:
    """Remove temporary files of ``atomic_write`` whose process is gone.

    A process that lives holds a lock on its own. Without such locks (Windows) nothing is removed.

    Args:
        folder: Where; a missing one contains none.
        below: Look into all folders below it, too.
    """
    if sys.platform == "win32" or not folder.is_dir():
        return
    pattern = f".*{_MARK}*"
    for path in folder.rglob(pattern) if below else folder.glob(pattern):
        if _TEMPORARY.fullmatch(path.name) and not path.is_symlink():
            _remove_if_unlocked(path)


def _remove_if_unlocked(path: Path) -> None:
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):  # locked by its process, or gone, or not ours
        handle = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)


def _set_default_mode(path: Path) -> None:
    """Set the mode that a plain ``open`` would give; ``mkstemp`` shuts out other users."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with line feeds at line ends, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically.

    Raises:
        ValueError: ``value`` holds a NaN or an infinity, which JSON cannot say.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; links to folders are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    for at, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(at)  # noqa: PTH116 - what os.walk gives is a text
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(at, name) for name in sorted(files))


def spelled_on_disk(folder: Path, path: str) -> str | None:
    r"""Return the spelling of a path by which a file is there, or ``None``.

    Tried are the path as it is, with ``\\`` as ``/``, and its characters composed and decomposed
    (Unicode NFC and NFD): which of these a disk holds depends on who wrote the file.

    Args:
        folder: What a relative path starts from.
        path: The path; names that no disk can hold are missing.
    """
    spellings = [path, path.replace("\\", "/")]
    spellings += [unicodedata.normalize(form, spellings[1]) for form in ("NFC", "NFD")]
    there = (s for s in dict.fromkeys(spellings) if os.path.exists(os.path.join(folder, s)))  # noqa: PTH110, PTH118 - unlike Path.exists they take any name
    return next(there, None)


def missing(path: Path) -> str:
    """Return an error message for a path that does not exist, with similar names in its folder."""
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), Path())
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    wanted = path.absolute().relative_to(folder).parts[0]
    if wanted in names:
        at = folder / wanted
        what = "a folder" if at.is_dir() else "a link to nothing" if at.is_symlink() else "a file"
        return f"{path}: no such file; {at} is {what}"
    near = difflib.get_close_matches(wanted, names, n=2, cutoff=0.4) or names[:3]
    found = ", ".join(near) if near else "nothing"
    return f"{path}: no such file; {folder} contains {found}"


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


def distinct_stems(stems: Iterable[str], *, endings: Sequence[str] = ("",)) -> list[str]:
    """Return stems that name a file each, on every disk.

    One that is taken gets ``__2``, ``__3`` and so on; no two differ in case alone, which some
    disks cannot tell. A very long one is shortened and ends in a hash.

    Args:
        stems: File names without their suffix, as ``file_stem`` makes them.
        endings: What is added to every stem to name its files; none of these meet either.
    """
    distinct: list[str] = []
    taken: set[str] = set()
    for stem in map(_shorten, stems):
        candidate, n = stem, 1
        while {f"{candidate}{ending}".casefold() for ending in endings} & taken:
            n += 1
            candidate = f"{stem}__{n}"
        taken |= {f"{candidate}{ending}".casefold() for ending in endings}
        distinct.append(candidate)
    return distinct


def _shorten(stem: str) -> str:
    """Return a stem that fits a file system's 255 bytes, with room for what is added to it."""
    if len(stem.encode()) <= _MAX_STEM_BYTES:
        return stem
    digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
    return stem.encode()[: _MAX_STEM_BYTES - 10].decode(errors="ignore") + "--" + digest


_Model = TypeVar("_Model", bound=BaseModel)

MOST_BYTES = 256 << 20
"""Size from which up a file is refused unread; a large benchmark's takes a tenth."""


def read_model(
    path: Path, model: type[_Model], *, error: type[EarwitnessError], expected: str
) -> _Model:
    """Read a model that ``model_dump_json`` wrote.

    Args:
        path: The file.
        model: What it holds.
        error: What is raised.
        expected: What the file should be, for the message.

    Raises:
        EarwitnessError: It cannot be read, is too large, or does not hold that model.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    if len(content) > MOST_BYTES:
        raise error(f"{path}: over {MOST_BYTES} bytes; expected {expected}")
    try:
        return model.model_validate_json(content)
    except ValidationError as reason:
        raise error(f"{path}: {first_problem(reason)}; expected {expected}") from None


def first_problem(error: ValidationError) -> str:
    """Return where the first problem is and what it is, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    return " ".join(f"{where[:200]}: {first['msg'][:200]}".split())


def compose(text: str) -> str:
    """Return ``text`` in Unicode normal form C: "é" as one code point, however it was typed."""
    return unicodedata.normalize("NFC", text)


def tidy_path(path: str) -> str:
    """Return one spelling of a path: NFC, forward slashes, without ``.``, ``..`` and ``//``.

    The disk is not asked: ``./a/../b`` becomes ``b`` whether ``a`` exists or not.
    """
    return posixpath.normpath(compose(path).replace("\\", "/"))
