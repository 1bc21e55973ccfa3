"""Paths of files on other machines: URLs that behave like ``pathlib`` paths.

Conventions: ``str`` of a remote path is safe to print and to write, its credentials are left out;
``os.fspath`` is the URL as given, for opening. Bytes are read through a local copy, see ``cache``.
Web servers and tar files are not asked what they hold, and object stores may refuse to say: such
files count as present.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import posixpath
import re
import sys
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PosixPath, PurePosixPath, WindowsPath
from typing import Any, Self
from urllib.parse import quote, unquote

if sys.platform == "win32":
    _Local = WindowsPath
else:
    _Local = PosixPath

SCHEMES = ("s3", "gs", "hf", "https", "http", "memory", "file", "tar")
"""Schemes that are opened; others are refused. ``file`` becomes a local path."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_COLLAPSED = re.compile(rf"(^|::)({'|'.join(SCHEMES)}):/+")
_USER = re.compile(
    r"(?<![a-zA-Z])(?!(?:tar|memory)://)([a-zA-Z][a-zA-Z0-9+.-]*://|(?:s3|gs|hf|https?):/)"
    r"(?:[^/\s?#]*|[^/\s@:\[]+:(?!\d*/)[^\s@]*)@"  # a password may have a slash
)
_QUERY = re.compile(r"(https?:/[^\n?]*)\?([^\s'\"]*[^\s'\":,;.)\]])", re.IGNORECASE)
_WHOLE_QUERY = re.compile(r"(https?://[^?]*)\?(.+)", re.IGNORECASE | re.DOTALL)
_REDACTED = re.compile(r"redacted-[0-9a-f]{8}")
_WEB = ("http", "https")
_ARCHIVE = re.compile(r"::(?=/|[A-Za-z][A-Za-z0-9+.-]*://)")
_LISTED = ("s3", "gs", "hf", "memory")
_LISTING_S = 60


def is_url(path: str) -> bool:
    """Return whether a path is a URL."""
    return "://" in path and _URL.match(path) is not None


def to_path(path: str | os.PathLike[str]) -> Path:
    """Return a local path, or a ``RemotePath`` for a URL, also one that ``Path`` has collapsed."""
    if isinstance(path, RemotePath):
        return path
    text = os.fspath(path)
    if not is_url(text):
        if not isinstance(path, Path) or not _COLLAPSED.match(path.as_posix()):
            return Path(path)
        text = _COLLAPSED.sub(r"\1\2://", path.as_posix())
        text = re.sub(r"(^|::)file://(?!/)", r"\1file:///", text)
    return Path(text.removeprefix("file://")) if text.startswith("file://") else RemotePath(text)


def absolute_name(path: str) -> str:
    """Return an absolute path as text; URLs as they are."""
    if is_url(path):
        return path
    name = os.path.abspath(path)  # noqa: PTH100 - a name may be no valid Path
    return path if name == path else name  # millions of names are in memory once


def recorded_name(path: str) -> str:
    """Return an absolute path as files of ours record it: without the credentials of URLs."""
    return _redact_url(path) if is_url(path) else absolute_name(path)


def shown_name(path: str) -> str:
    """Return a path of a manifest as results name it: without the credentials of URLs."""
    return _redact_url(path) if is_url(path) else path


def redact(text: str) -> str:
    """Return text with ``user:password@`` left out of URLs, and queries of web URLs as hashes.

    URLs that ``Path`` has collapsed (``https:/host``) are known, too.
    """
    return _QUERY.sub(_hash_query, _USER.sub(r"\1", text)) if ":/" in text else text


def _redact_url(url: str) -> str:
    """Return ``redact`` of a URL alone, whose query may have blanks and quotes."""
    return _WHOLE_QUERY.sub(_hash_query, _USER.sub(r"\1", url))


def _hash_query(found: re.Match[str]) -> str:
    address, query = found.groups()
    if _REDACTED.fullmatch(query):
        return found[0]
    return f"{address}?redacted-{hashlib.sha256(query.encode()).hexdigest()[:8]}"


def present(path: str) -> bool:
    """Return whether a file exists; unlike ``Path.exists`` it takes any name."""
    return RemotePath(path).exists() if is_url(path) else os.path.exists(path)  # noqa: PTH110


def join(folder: str | Path, name: str) -> str:
    """Return the path of a name in a folder as text; a URL or an absolute path takes its place."""
    if isinstance(folder, RemotePath):
        return os.fspath(folder / name)
    if is_url(name):
        return os.fspath(to_path(name))
    return os.path.join(folder, name)  # noqa: PTH118 - any text is a path


class RemotePath(_Local):
    """A URL as a path; what it does not override is that of the URL without ``//`` and query."""

    _url: str

    def __new__(cls, url: str | os.PathLike[str], *more: str) -> Self:
        """Return the path of a URL, with names below it."""
        text = os.fspath(url)
        for name in more:
            text = _below(text, name)
        self = super().__new__(cls, _plain(text))
        self._url = text
        return self

    def __init__(self, url: str | os.PathLike[str], *more: str) -> None:  # noqa: ARG002 - Python 3.12 keeps them here
        if sys.version_info >= (3, 12):
            super().__init__(_plain(self._url))

    def __str__(self) -> str:
        return _redact_url(self._url)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __fspath__(self) -> str:
        return self._url

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self._url,))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self._url == other._url

    def __hash__(self) -> int:
        return hash(self._url)

    def as_posix(self) -> str:
        """Return what ``str`` does."""
        return str(self)

    @property
    def scheme(self) -> str:
        """The part before ``://``, in lower case."""
        return self._url.partition("://")[0].lower()

    @property
    def parent(self) -> Self:
        """The folder; the root is its own."""
        if archive := split_member(self._url)[1]:
            return type(self)(archive)
        url = self._url.partition("?")[0] if _is_web(self._url) else self._url
        scheme, _, rest = url.partition("://")
        above = posixpath.dirname(rest.rstrip("/"))
        return type(self)(f"{scheme}://{above}") if above else self

    @property
    def parents(self) -> tuple[Self, ...]:
        """The folders above, the nearest first."""
        found: list[Self] = []
        at = self
        while (above := at.parent) != at:
            found.append(above)
            at = above
        return tuple(found)

    def __truediv__(self, name: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        return self.joinpath(name)

    def joinpath(self, *names: str | os.PathLike[str]) -> Path:  # type: ignore[override]
        """Return a path below; a URL or an absolute path takes its place."""
        at: Path = self
        for name in names:
            part = os.fspath(name)
            if is_url(part) or posixpath.isabs(part):
                at = to_path(part)
            else:
                at = type(self)(_below(os.fspath(at), part)) if is_url(os.fspath(at)) else at / part
        return at

    def with_name(self, name: str) -> Self:
        """Return a path beside this one."""
        return type(self)(_below(os.fspath(self.parent), name))

    def relative_to(self, other: Any, *more: Any) -> Path:  # type: ignore[override]
        """Return the local path of this one below another."""
        return Path(PurePosixPath(_plain(self._url)).relative_to(_plain(os.fspath(other)), *more))

    def is_absolute(self) -> bool:
        """Return true."""
        return True

    def absolute(self) -> Self:
        """Return this path."""
        return self

    def resolve(self, strict: bool = False) -> Self:  # noqa: ARG002 - as pathlib has it
        """Return this path."""
        return self

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as pathlib has it
        """Return whether there is such a file or folder."""
        return self.is_file() or self.is_dir()

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as pathlib has it
        """Return whether its folder lists it; true if it cannot be asked."""
        if self.scheme not in _LISTED:
            return True
        names = _files(os.fspath(self.parent), int(time.time() / _LISTING_S))
        return names is None or self.name in names

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as pathlib has it
        """Return whether there is anything below it; true without permission to list it."""
        if self.scheme not in _LISTED:
            return False
        found = _entries(self._url, int(time.time() / _LISTING_S))
        return found is None or bool(found)

    def iterdir(self) -> Iterator[Path]:  # type: ignore[override]
        """Yield the paths of files and folders in the folder."""
        found = _entries(self._url, int(time.time() / _LISTING_S))
        if found is None:
            raise PermissionError(errno.EACCES, "no permission to list it", str(self))
        for name in sorted(found):
            yield self / name

    def walk_files(self) -> list[str]:
        """Return the paths of all files below, relative and sorted; ``OSError`` without any."""
        from earwitness.core.cache import as_os_error, open_filesystem

        if self.scheme not in _LISTED:
            raise OSError(errno.ENOTSUP, f"{self.scheme} has no folders to list", str(self))
        with as_os_error(self._url):
            filesystem, root = open_filesystem(self._url)
            found = filesystem.find(root)
        start = len(root.rstrip("/")) + 1
        return sorted(path[start:] for path in found if len(path) > start)

    def open(self, mode: str = "r", *_: Any, **options: Any) -> Any:
        """Open the local copy for reading; ``OSError`` if it cannot be fetched."""
        from earwitness.core.cache import open_copy

        if mode not in ("r", "rb", "rt"):
            raise OSError(errno.EROFS, "remote files are only read", str(self))
        file = os.fdopen(open_copy(self._url), "rb")
        if mode == "rb":
            return file
        return io.TextIOWrapper(file, encoding=options.get("encoding") or "utf-8")

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - as pathlib has it
        """Return the status of the local copy."""
        with self.open("rb") as file:
            return os.fstat(file.fileno())


def split_member(url: str) -> tuple[str, str]:
    """Return the URL of a member without its tar file, and the tar file; others have none, ``""``.

    Names of members may have ``::``: what follows the one that counts is absolute or a URL.
    """
    if not url.lower().startswith("tar://"):
        return url, ""
    if found := _ARCHIVE.search(url):
        return url[: found.start()], url[found.end() :]
    head, chain, archive = url.rpartition("::")
    return (head, archive) if chain else (url, "")


def _is_web(url: str) -> bool:
    return url.partition("://")[0].lower() in _WEB


def _plain(url: str) -> str:
    """Return the part of a URL that names a file as it is called: not quoted, without the query."""
    head = split_member(url)[0]
    return unquote(re.split("[?#]", head, maxsplit=1)[0]) if _is_web(head) else head


def _below(url: str, name: str) -> str:
    """Return the URL of a name below another; web servers get it quoted, and the query as it is."""
    head, archive = split_member(url)
    after = f"::{archive}" if archive else ""
    if _is_web(head):
        head, mark, query = head.partition("?")
        name, after = quote(name, errors="surrogatepass"), f"{mark}{query}"
    return f"{head if head.endswith('/') else f'{head}/'}{name}{after}"


@lru_cache(maxsize=256)
def _entries(folder: str, minute: int) -> dict[str, str] | None:  # noqa: ARG001 - so that it is asked again
    """Return names in a folder with their types, ``{}`` if there is none; asked once a minute.

    Without permission to list it, ``None``: its files may be readable all the same.
    """
    from earwitness.core.cache import as_os_error, open_filesystem

    try:
        with as_os_error(folder):
            filesystem, root = open_filesystem(folder)
            found = filesystem.ls(root, detail=True, refresh=True)
    except FileNotFoundError:
        return {}
    except PermissionError:
        return None
    own = root.rstrip("/")
    return {
        posixpath.basename(entry["name"].rstrip("/")): str(entry["type"])
        for entry in found
        if entry["name"].rstrip("/") != own
    }


@lru_cache(maxsize=256)
def _files(folder: str, minute: int) -> frozenset[str] | None:
    found = _entries(folder, minute)
    return None if found is None else frozenset(n for n, kind in found.items() if kind == "file")
