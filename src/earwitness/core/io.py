"""Atomic writes, models and tables read from files, hashes, and portable file names."""

from __future__ import annotations

import contextlib
import difflib
import errno
import hashlib
import json
import os
import posixpath
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from earwitness.core.errors import EarwitnessError, RunError, first_line
from earwitness.core.remote import join, present

if sys.platform != "win32":
    import fcntl
if TYPE_CHECKING:
    import polars as pl

_Model = TypeVar("_Model", bound=BaseModel)

MOST_BYTES = 256 << 20
"""Maximum size of a JSON file; a large benchmark's takes a tenth."""
MOST_CELLS = 200_000_000
"""Maximum size of a Parquet table, which packs a column of one value into a few bytes."""

_MAX_STEM_BYTES = 180
_MARK = ".part"
_swept: set[tuple[int, Path]] = set()


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, which replaces ``path`` if the block succeeds.

    Missing folders are created. The temporary file is removed if the block raises; that of a killed
    process by the next process that writes there. ``RunError`` if the disk is full or refuses it.
    """
    with _describe_refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if (key := (os.getpid(), path.parent.absolute())) not in _swept:
            _swept.add(key)
            sweep(path.parent)
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
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path``, which takes its place if the block succeeds.

    One process at a time; what a killed one has left is removed. ``RunError`` as ``atomic_write``.
    """
    new, old = (path.with_name(f".{path.name}.{name}") for name in ("new", "old"))
    with _describe_refusals(path):
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            yield new
            if path.is_dir():
                path.rename(old)
            else:
                path.unlink(missing_ok=True)
            new.rename(path)
        finally:
            for left in (new, old):
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def _describe_refusals(path: Path) -> Iterator[None]:
    """Turn errors of the disk into a ``RunError``; libraries wrap them in errors of their own."""
    try:
        yield
    except RunError:
        raise  # of another file, described already
    except Exception as error:
        if (reason := refusal(error)) is None or not _concerns(error, path):
            raise
        raise RunError(f"{path}: cannot be written ({reason})") from error


def _concerns(error: Exception, path: Path) -> bool:
    """Return whether an error names no file, or one in the folder of ``path`` or above it."""
    name = error.filename if isinstance(error, OSError) else None
    return name is None or Path(os.fsdecode(name)).parent in (path.parent, path.parent.parent)


def refusal(error: BaseException) -> str | None:
    """Return the reason the disk or system gave for an error; ``None`` for other errors."""
    refusals = (
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO),
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    )
    reasons = {
        "PytorchStreamWriter failed": "the disk may be full",
        "unexpected pos": "the disk may be full",
        "No usable temporary directory": "no folder for temporary files; TMPDIR names one",
    }
    text = str(error)
    reason = next((reason for sign, reason in reasons.items() if sign in text), None)
    if isinstance(error, OSError) and error.errno is not None and reason is None:
        reason = error.strerror or os.strerror(error.errno)
        return reason if error.errno in refusals or error.filename else None
    by_text = (os.strerror(number) for number in refusals if os.strerror(number) in text)
    return next(by_text, reason)


def _open_temporary(path: Path) -> tuple[int | None, Path]:
    """Create a temporary file, locked by its handle where the system has file locks."""
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
        if os.fstat(handle).st_nlink:  # else another process has removed it before it was locked
            return handle, Path(name)
        os.close(handle)


def sweep(folder: Path, *, below: bool = False) -> None:
    """Remove temporary files of ``atomic_write`` that no process has locked; none on Windows."""
    if sys.platform == "win32" or not folder.is_dir():
        return
    pattern = f".*{_MARK}*"
    for path in folder.rglob(pattern) if below else folder.glob(pattern):
        is_temporary = re.fullmatch(r"\..+\.[a-z0-9_]{8}\.part(\.[^.]+)?", path.name)
        if is_temporary and not path.is_symlink():
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
    """Set the mode that ``open`` would give; files of ``mkstemp`` are private."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def cache_folder() -> Path | None:
    """Return the cache folder, or ``None`` without a home folder.

    ``$EARWITNESS_CACHE``, else ``earwitness`` in ``%LOCALAPPDATA%`` on Windows, else in
    ``$XDG_CACHE_HOME``, else ``~/.cache/earwitness``.
    """
    if own := os.environ.get("EARWITNESS_CACHE"):
        return Path(own)
    if shared := os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME"):
        return Path(shared) / "earwitness"
    try:
        return Path.home() / ".cache" / "earwitness"
    except RuntimeError:
        return None


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8 with line feeds at line ends, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; ``ValueError`` for NaN or infinity."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def files_below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, sorted; linked folders are followed, each once."""
    seen: set[tuple[int, int]] = set()
    for at, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(at)  # noqa: PTH116 - what os.walk gives is a text
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(at, name) for name in sorted(files))


def spelled_on_disk(folder: str | Path, path: str) -> str | None:
    r"""Return the spelling under which a path exists below a folder, or ``None``.

    The path is tried as given, with ``\\`` as ``/``, and in Unicode NFC and NFD: which of these a
    disk has depends on the system that wrote the file.
    """
    spellings = [path]
    if not path.isascii() or "\\" in path:
        spellings.append(path.replace("\\", "/"))
        spellings += [unicodedata.normalize(form, spellings[1]) for form in ("NFC", "NFD")]
    for spelling in dict.fromkeys(spellings):
        if present(join(folder, spelling)):
            return spelling
    return None


def missing(path: Path) -> str:
    """Return the error message for a missing path, with similar names in its folder."""
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
    """Return the hexadecimal SHA-256 of a file's bytes; of a folder, of those of its files."""
    if path.is_dir():
        parts = "".join(f"{sha256_of(part)}  {part.name}\n" for part in sorted(path.iterdir()))
        return hashlib.sha256(parts.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_stem(name: str) -> str:
    """Return a portable file name, no path: ``/`` becomes ``__``, ``@`` ``--``, others ``_``."""
    name = name.replace("/", "__").replace("@", "--")
    safe = "".join(c if c.isalnum() or c in "._-+= ()" else "_" for c in name).strip(" .")
    return safe or "_"


def distinct_stems(stems: Iterable[str], *, endings: Sequence[str] = ("",)) -> list[str]:
    """Return distinct stems: repeated ones get ``__2``, ``__3``; long ones end in a hash.

    Names with each of ``endings`` are distinct without case, as some file systems compare them.
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
    """Return a stem within a file system's 255 bytes, with room for endings."""
    if len(stem.encode()) <= _MAX_STEM_BYTES:
        return stem
    digest = hashlib.sha256(stem.encode()).hexdigest()[:8]
    return stem.encode()[: _MAX_STEM_BYTES - 10].decode(errors="ignore") + "--" + digest


def read_model(
    path: Path, model: type[_Model], *, error: type[EarwitnessError], expected: str
) -> _Model:
    """Read a pydantic model from a JSON file; an ``error`` with ``expected`` if it does not fit."""
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
    """Return the location and message of the first validation error, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    return " ".join(f"{where[:200]}: {first['msg'][:200]}".split())


def compose(text: str) -> str:
    """Return ``text`` in Unicode NFC."""
    return unicodedata.normalize("NFC", text)


def tidy_path(path: str) -> str:
    """Return a path in NFC with ``/``, without ``.``, ``..`` and ``//``, even if it is missing."""
    return posixpath.normpath(compose(path).replace("\\", "/"))


def read_parquet(path: Path, *, error: type[EarwitnessError]) -> pl.DataFrame:
    """Return the columns of a Parquet table, a file or a folder of parts, as text.

    A child process reads it first, in batches: Polars trusts the sizes stated in the file, and a
    failed allocation ends the whole process.

    Raises:
        OSError: There is no such file.
        EarwitnessError: An ``error``: over ``MOST_CELLS``, or damaged.
    """
    import polars as pl

    from earwitness.core.cache import local_copy

    places = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    parts = [local_copy(os.fspath(place)) for place in places]
    for part in parts:
        Path(part).open("rb").close()  # Polars' own error is longer
    if not parts:
        raise error(f"{path}: a folder without *.parquet files, expected the parts of a table")
    program = """if True:
        import sys
        import polars as pl
        frames = [pl.scan_parquet(part, glob=False) for part in sys.argv[2:]]
        n_rows = [frame.select(pl.len()).collect().item() for frame in frames]
        n_cells = sum(n * f.collect_schema().len() for n, f in zip(n_rows, frames))
        print(n_cells)
        for frame in frames if n_cells <= int(sys.argv[1]) else ():
            frame.sink_batches(lambda batch: None)
    """
    command = [sys.executable, "-P", "-c", program, str(MOST_CELLS), *parts]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - ours
    # Windows reports a crash as a status of at least 1 << 30, other systems as a negative one.
    if not 0 <= done.returncode < 1 << 30:
        raise error(f"{path}: cannot be read as a table (it crashes the reader of Parquet)")
    n_cells = int(done.stdout or 0)
    if n_cells > MOST_CELLS:
        raise error(f"{path}: {n_cells} cells, expected at most {MOST_CELLS}")
    # Each part alone: writers give a column other types where its values allow them.
    tables: list[pl.DataFrame] = []
    for place, part in zip(places, parts, strict=True):
        try:
            text = pl.scan_parquet(part, glob=False).select(pl.all().cast(pl.String)).collect()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as reason:
            first = first_line(reason)
            raise error(f"{place}: cannot be read as a table ({first})") from None
        expected = tables[0].columns if tables else text.columns
        if {*text.columns} != {*expected}:
            found, wanted = ", ".join(text.columns), ", ".join(expected)
            raise error(f"{place}: columns {found}; expected those of {places[0]}: {wanted}")
        tables.append(text.select(expected))
    return pl.concat(tables, rechunk=False)
