"""Local copies of remote files, in a folder of bounded size.

A copy is whole, known by its URL and by the version that the server states, and read-only for us.
The least recently used ones are removed first. Copies that another process reads stay readable.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import random
import re
import tarfile
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from filelock import FileLock

from earwitness.core.errors import EarwitnessError, RunError, UsageError, first_line
from earwitness.core.io import cache_folder
from earwitness.core.remote import SCHEMES, RemotePath, is_url, redact, split_member, to_path

CACHE_DIR, CACHE_SIZE = "EARWITNESS_COPIES", "EARWITNESS_COPIES_SIZE"
TIMEOUT, TRIES = "EARWITNESS_TIMEOUT_S", "EARWITNESS_TRIES"
"""Environment variables; the command line sets them, so that worker processes have them, too."""

DEFAULT_BYTES, DEFAULT_TIMEOUT_S, DEFAULT_TRIES = 10 << 30, 30.0, 4
SLOWEST_BYTES_S = 16 << 10
"""Slower transfers are given up after the timeout."""

_EXTRAS = {"s3": "s3", "gs": "gs"}
_PART, _LOCK = ".part", ".lock"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_LASTING_REASONS = {
    "NoCredentials": "no credentials found",
    "Redirect": "too many redirects, or one to what is no web address",
    "InvalidU": "not a valid web address",
    "SSL": "no secure connection",
    "Certificate": "no secure connection",
}
"""Reasons by a part of the name of an error that another try does not mend."""

_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


class Settings(NamedTuple):
    """Where copies are kept, and how long and how often is tried."""

    folder: Path
    max_bytes: int
    timeout_s: float
    n_tries: int


def settings() -> Settings:
    """Return the settings of the environment; ``UsageError`` if they are invalid."""
    environment = os.environ
    base = cache_folder() or Path(tempfile.gettempdir())
    try:
        return Settings(
            Path(environment.get(CACHE_DIR) or base / "remote"),
            parse_size(environment.get(CACHE_SIZE) or str(DEFAULT_BYTES)),
            float(environment.get(TIMEOUT) or DEFAULT_TIMEOUT_S),
            max(1, int(environment.get(TRIES) or DEFAULT_TRIES)),
        )
    except ValueError as error:
        raise UsageError(f"{TIMEOUT} or {TRIES}: {error}") from None


def parse_size(text: str) -> int:
    """Return the bytes of ``500M``, ``20G`` or a number; ``UsageError`` for other text."""
    found = re.fullmatch(r"(\d+)([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not found or not (size := int(found[1]) << 10 * "_KMGT".index(found[2].upper() or "_")):
        raise UsageError(f"cache size {text}: expected a size like 500M or 20G")
    return size


def open_copy(url: str) -> int:
    """Return a descriptor of the local copy of a URL, for reading.

    Raises:
        OSError: It cannot be fetched; ``strerror`` is the reason, in one line.
    """
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    for _ in range(3):
        copy = _fetched(url)
        with contextlib.suppress(FileNotFoundError):  # removed by another process meanwhile
            return os.open(copy, flags)
    raise _failure(url, "the cache is too small for the files in use")


def local_copy(path: str) -> str:
    """Return the path of a file on this machine: the local copy of a URL, else its own."""
    return str(_fetched(path)) if is_url(path) else path


def _fetched(url: str) -> Path:
    """Return the local copy of a URL, fetched if needed."""
    fetch = _tar_member if url.lower().startswith("tar://") else _object
    for _ in range(1, settings().n_tries):
        try:
            return fetch(url)
        except RunError as error:
            reason = error.__cause__
            if not (isinstance(reason, OSError) and reason.errno in _DISK_FULL):
                raise
        _make_room(settings().folder, 0)  # the disk is full before the cache is
    return fetch(url)


def _object(url: str) -> Path:
    """Return the copy of a remote file, trying several times."""
    chosen = settings()
    for number in range(chosen.n_tries):
        try:
            with as_os_error(url):
                return _copy(url, chosen)
        except OSError as error:
            if isinstance(error, _LASTING) or error.errno in (errno.EINVAL, errno.EFBIG):
                raise
            if number + 1 == chosen.n_tries:
                tries = f" ({chosen.n_tries} tries)" if chosen.n_tries > 1 else ""
                raise _failure(url, f"{error.strerror or first_line(error)}{tries}") from error
        time.sleep(min(chosen.timeout_s, 0.5 * 2**number) * random.uniform(0.5, 1))  # noqa: S311 - spreads tries
    raise AssertionError("every try returns or raises")


def _copy(url: str, chosen: Settings) -> Path:
    filesystem, path = open_filesystem(url)
    version, n_bytes = _version(url, int(time.time() / 60))
    target = _place(chosen.folder, url, version)
    with _adding(target, chosen, n_bytes) as temporary:
        if temporary is not None:
            filesystem.get_file(path, str(temporary), callback=_Watch(chosen))
            found = temporary.stat().st_size
            if n_bytes is not None and found != n_bytes:
                raise OSError(errno.EIO, f"{found} bytes came, expected {n_bytes}")
    return target


@lru_cache(maxsize=4096)
def _version(url: str, minute: int) -> tuple[str, int | None]:  # noqa: ARG001 - so that it is asked again
    """Return what identifies the content of a remote file, and its size if known."""
    filesystem, path = open_filesystem(url)
    info = filesystem.info(path)
    if info.get("type") == "directory":
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file")
    keys = ("etag", "last-modified", "lastmodified", "mtime", "created", "oid", "blob_id", "size")
    stated = {key.lower(): info[key] for key in info}
    size = info.get("size")
    version = "\n".join(f"{key} {stated[key]}" for key in keys if stated.get(key) is not None)
    return version, size if isinstance(size, int) else None


def _tar_member(url: str) -> Path:
    """Return the copy of a member of a tar file, which is fetched whole."""
    member, inner = split_member(url)
    name, archive = member[len("tar://") :], to_path(inner)
    chosen = settings()
    fd = open_copy(inner) if isinstance(archive, RemotePath) else os.open(archive, os.O_RDONLY)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        members = _members(redact(inner), status.st_size, status.st_mtime_ns, _Opened(file))
        if name not in members:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        start, n_bytes = members[name]
        version = f"{status.st_size} {status.st_mtime_ns} {start}"
        target = _place(chosen.folder, url, version)
        with _adding(target, chosen, n_bytes) as temporary:
            if temporary is not None:
                file.seek(start)
                with temporary.open("wb") as copy:
                    while n_bytes and (block := file.read(min(n_bytes, 1 << 20))):
                        n_bytes -= copy.write(block)
    return target


class _Opened:
    """An open file that a cached call is given, but not known by."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Opened)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=16)
def _members(name: str, n_bytes: int, mtime_ns: int, opened: _Opened) -> dict[str, tuple[int, int]]:  # noqa: ARG001 - the state of the file
    """Return first byte and size of every regular file in a tar file, which is not compressed."""
    try:
        with tarfile.open(fileobj=opened.file, mode="r:") as archive:
            found = {
                posixpath.normpath(member.name): (member.offset_data, member.size)
                for member in archive
                if member.isreg() and not member.issparse()
            }
    except tarfile.TarError as error:
        reason = f"{name} cannot be read as an uncompressed tar file ({first_line(error)})"
        raise OSError(errno.EINVAL, reason) from error
    return found


def _place(folder: Path, url: str, version: str) -> Path:
    """Return where the copy of a version is kept; the end of its name is of use to readers."""
    digest = hashlib.sha256(f"{url}\n{version}".encode(errors="surrogatepass")).hexdigest()
    suffix = re.sub(r"[^.a-z0-9]", "", RemotePath(url).suffix.lower())[:10]
    return folder / f"{digest[:40]}{suffix}"


@contextlib.contextmanager
def _adding(target: Path, chosen: Settings, n_bytes: int | None) -> Iterator[Path | None]:
    """Yield a temporary file that becomes ``target``, or ``None`` if that is there already."""
    if _touch(target):
        yield None
        return
    if (n_bytes or 0) > chosen.max_bytes:
        size = f"{n_bytes} bytes, more than the {chosen.max_bytes} of the cache"
        raise OSError(errno.EFBIG, f"{size} (--cache-size)")
    folder = target.parent
    lock = FileLock(folder / f".{target.name}{_LOCK}")  # one of several processes fetches
    with _own_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    try:
        if _touch(target):
            yield None
            return
        _make_room(folder, chosen.max_bytes - (n_bytes or 0))
        with _own_errors(folder):
            handle, name = tempfile.mkstemp(dir=folder, prefix=".", suffix=_PART)
        os.close(handle)
        temporary = Path(name)
        try:
            with _own_errors(folder, *_DISK_FULL):
                yield temporary
            # Results are kept by size and time of change: a copy that is fetched again has both.
            os.utime(temporary, ns=(time.time_ns(), int(target.name[:13], 16)))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)
    _make_room(folder, chosen.max_bytes, but=target)


@contextlib.contextmanager
def _own_errors(folder: Path, *numbers: int) -> Iterator[None]:
    """Raise errors of the disk, of ``numbers`` or all, as ``RunError``: no row can do anything."""
    try:
        yield
    except OSError as error:
        if numbers and error.errno not in numbers:
            raise
        reason = error.strerror or first_line(error)
        raise RunError(f"{folder}: cannot hold copies of files ({reason}), --cache-dir") from error


def _touch(path: Path) -> bool:
    """Mark a copy as used now; return whether it is there."""
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except OSError:
        return False
    return True


def _make_room(folder: Path, n_bytes: int, *, but: Path | None = None) -> None:
    """Remove the least recently used copies until the folder has at most ``n_bytes``."""
    there: list[tuple[int, int, Path]] = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another process may have removed it
            status = path.stat()
            is_old = time.time() - status.st_mtime > 86_400
            is_left = path.suffix in (_PART, _LOCK) and is_old
            if is_left:  # by a process that was killed
                path.unlink(missing_ok=True)
            elif not path.name.startswith("."):
                there.append((status.st_atime_ns, status.st_size, path))
    total = sum(size for _, size, _ in there)
    for _, size, path in sorted(there):
        if total <= n_bytes:
            return
        if path != but:
            with contextlib.suppress(OSError):  # Windows keeps files that are open
                path.unlink(missing_ok=True)
                total -= size


class _Watch:
    """Ends a transfer that is too slow or too long; has what fsspec calls of its callbacks."""

    def __init__(self, chosen: Settings) -> None:
        self._chosen, self._n_bytes, self._began = chosen, 0, time.monotonic()

    def set_size(self, size: int | None) -> None:
        """Do nothing: the size is checked at the end."""

    def relative_update(self, inc: int = 1) -> None:
        """Count bytes that came."""
        self._n_bytes += inc
        late_s = time.monotonic() - self._began - self._chosen.timeout_s
        if self._n_bytes > self._chosen.max_bytes:
            raise OSError(errno.EFBIG, f"over {self._chosen.max_bytes} bytes (--cache-size)")
        if late_s > 0 and self._n_bytes < late_s * SLOWEST_BYTES_S:
            raise OSError(errno.ETIMEDOUT, f"slower than {SLOWEST_BYTES_S} bytes per second")

    def __getattr__(self, name: str) -> Any:
        """Return another method of a callback, which does nothing."""
        from fsspec.callbacks import NoOpCallback

        return getattr(NoOpCallback(), name)


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and the path in it."""
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise OSError(errno.EINVAL, f"{scheme}:// is not opened, expected one of {known}")
    import fsspec

    if scheme == "gs":  # without a login it asks for the kind of bucket each time, in vain
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    if scheme == "hf":
        _bound_hub()
    try:
        filesystem = fsspec.filesystem(scheme, **_options(scheme, settings().timeout_s))
    except ImportError:
        extra = _EXTRAS.get(scheme, scheme)
        reason = f"{scheme}:// needs pip install 'earwitness[{extra}]'"
        raise OSError(errno.EINVAL, reason) from None
    path = _quoted(url) if scheme in ("http", "https") else url
    return filesystem, str(filesystem._strip_protocol(path))


def _quoted(url: str) -> str:
    """Return a web URL as it is sent: what is quoted stays, other characters become so."""
    import yarl

    found = re.match(r"([^/]+//[^/?#]*)(.*)", url, re.DOTALL)
    host, rest = found.groups() if found else (url, "")
    rest = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", rest)
    return str(yarl.URL(host)).rstrip("/") + quote(rest, safe="%/:?#[]@!$&'()*+,;=~")


def _options(scheme: str, timeout_s: float) -> dict[str, Any]:
    """Return options that bound how long a file system waits."""
    if scheme == "s3":
        limits = {"connect_timeout": timeout_s, "read_timeout": timeout_s}
        return {"config_kwargs": limits | {"retries": {"max_attempts": 1}}}
    if scheme in ("http", "https", "gs"):
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        if scheme == "gs":
            return {"session_kwargs": {"timeout": timeout}}
        client = {"timeout": timeout, "trust_env": True}
        return {"client_kwargs": client, "encoded": True}
    return {}


def _bound_hub() -> None:
    """Have the hub's client give up requests that it would wait for without end."""
    from huggingface_hub import get_session

    client = get_session()
    hooks = client.event_hooks["request"]
    if _limit_waiting not in hooks:
        client.event_hooks = client.event_hooks | {"request": [*hooks, _limit_waiting]}


def _limit_waiting(request: Any) -> None:
    """Set the timeouts of a request that has none."""
    given = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        kind: settings().timeout_s if given.get(kind) is None else given[kind]
        for kind in ("connect", "read", "write", "pool")
    }


@contextlib.contextmanager
def as_os_error(url: str) -> Iterator[None]:
    """Raise errors of the libraries as ``OSError`` with a reason that has no credentials."""
    try:
        yield
    except EarwitnessError:
        raise
    except Exception as error:  # noqa: BLE001 - of a dozen libraries; raised as one kind
        cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
        raise _described(url, cause if isinstance(cause, Exception) else error) from None


def _described(url: str, error: Exception) -> OSError:
    """Return an error with its reason; fsspec's file systems raise those of many libraries."""
    status = _http_status(error)
    is_no_name = "ParamValidation" in type(error).__name__  # no bucket can be called so
    if isinstance(error, FileNotFoundError) or status in (404, 410) or is_no_name:
        return FileNotFoundError(errno.ENOENT, "no such file", redact(url))
    if isinstance(error, PermissionError) or status in (401, 403):
        return PermissionError(errno.EACCES, "no permission to read it", redact(url))
    return _failure(url, *_reason(error, status))


def _http_status(error: Exception) -> int | None:
    """Return the status that a server answered, from an error of one of the libraries."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    elif str(error).startswith("Forbidden: "):  # an OSError of gcsfs without more
        found = 403
    else:
        holders = ((error, "status"), (response, "status_code"), (error, "code"))
        found = next((getattr(o, name) for o, name in holders if hasattr(o, name)), None)
    return found if isinstance(found, int) and found > 0 else None


def _reason(error: Exception, status: int | None) -> tuple[str, int]:
    """Return the reason for an error in one line, and its number: ``EINVAL`` if it will last."""
    name, of_parser = type(error).__name__, type(error.__cause__).__module__
    if "Payload" in name or "IncompleteRead" in name or "http_exceptions" in of_parser:
        return "the server ended its answer early, or it is not HTTP", errno.EIO
    if lasting := next((why for sign, why in _LASTING_REASONS.items() if sign in name), None):
        return lasting, errno.EINVAL
    if status is not None:
        passes = status in (408, 425, 429) or status >= 500
        return f"the server answered {status}", errno.EIO if passes else errno.EINVAL
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return f"no answer within {settings().timeout_s:g} s", errno.ETIMEDOUT
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
    text = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return " ".join(redact(text).split())[:200] or name, number


def _failure(url: str, reason: str, number: int = errno.EIO) -> OSError:
    return OSError(number, reason, redact(url))
