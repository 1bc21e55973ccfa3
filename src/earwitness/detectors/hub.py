"""Downloads of weights from the Hugging Face hub.

A hub id is ``owner/name`` or ``owner/name@revision``; all files come from one commit. The client's
variables (``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE``, token) apply. Without a connection the
cached revision is used.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from earwitness.core.downloads import (
    DownloadError,
    check_address,
    explain_refusal,
    fetch_file,
    first_reason,
    within,
)
from earwitness.core.errors import WeightsError
from earwitness.core.io import write_text
from earwitness.detectors.base import CONFIG_JSON
from earwitness.detectors.spectttra import STATE_FILES

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w.-]+(/[\w.-]+)*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


class _UnreachableError(Exception):
    """The hub did not answer; the message says why."""


class _Remote(NamedTuple):
    """Validated metadata of a file on the hub."""

    name: str
    commit: str
    sha256: str  # "" for small files, whose ETag is a Git hash
    n_bytes: int
    url: str


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form ``owner/name`` or ``owner/name@revision``."""
    return _HUB_ID.fullmatch(text) is not None and ".." not in text


def fetch_folder(hub_id: str, also: Sequence[str] = ()) -> Path:
    """Return the cached folder of a repository's ``config.json``, weights and further files.

    Raises:
        WeightsError: No such repository, revision or file; a failed download; or no connection
            and nothing in the cache. One line without the id.
    """
    if not is_hub_id(hub_id):
        raise WeightsError("no hub id, expected owner/name or owner/name@revision")
    repository, _, revision = hub_id.partition("@")
    revision = revision or "main"
    with _quiet_client():
        if _COMMIT.fullmatch(revision) and (folder := _cached_folder(repository, revision, also)):
            return folder
        try:
            config = _describe(repository, CONFIG_JSON, revision)
        except _UnreachableError as error:
            if (folder := _cached_folder(repository, revision, also)) is None:
                raise WeightsError(f"{error}, and it is not in the cache") from error
            return folder
        if config is None:
            raise WeightsError(f"{repository} holds no {CONFIG_JSON} at revision {revision!r}")
        cached = _cached_folder(repository, config.commit, also)
        return cached or _fetch(repository, revision, config, also)


def find_cached(hub_id: str, also: Sequence[str] = ()) -> Path | None:
    """Return the folder of a repository in the client's cache, without a request."""
    repository, _, revision = hub_id.partition("@")
    return _cached_folder(repository, revision or "main", also)


def _describe(repository: str, name: str, revision: str) -> _Remote | None:
    """Request a file's metadata, without retries; ``None`` if the repository lacks the file.

    Raises:
        WeightsError: No such repository or revision, or invalid metadata.
        _UnreachableError: No answer, or not from a hub.
    """
    from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        raise _UnreachableError("offline (HF_HUB_OFFLINE is set)")
    endpoint = constants.ENDPOINT
    url = hf_hub_url(repository, name, revision=revision, endpoint=endpoint)
    timeout_s = float(constants.HF_HUB_ETAG_TIMEOUT)
    try:
        check_address(endpoint)
    except DownloadError as error:
        raise WeightsError(f"{error}") from error
    try:
        found = within(max(60, timeout_s), lambda: get_hf_file_metadata(url, timeout=timeout_s))
    except errors.EntryNotFoundError:
        return None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status >= 500:
            raise _UnreachableError(f"{endpoint} answers with status {status}") from error
        raise WeightsError(explain_refusal(error, f"{endpoint}/{repository}", revision)) from error
    except Exception as error:  # the client does not wrap errors of its HTTP library
        raise _UnreachableError(f"{endpoint} cannot be reached ({first_reason(error)})") from error
    if found.commit_hash is None:
        raise _UnreachableError(f"{endpoint} is no hub (it names no commit)")
    return _checked(name, found, endpoint)


def _checked(name: str, found: Any, endpoint: str) -> _Remote:
    """Return validated metadata: the client itself would use an ETag of ``../../x`` as a path."""
    commit, etag, size = found.commit_hash, found.etag or "", found.size
    largest = 1 << 20 if name == CONFIG_JSON else 4 << 30
    if not _COMMIT.fullmatch(commit):
        problem = f"commit {commit[:60]!r}, expected 40 hexadecimal digits"
    elif not _ETAG.fullmatch(etag):
        problem = f"ETag {etag[:80]!r}, expected 40 or 64 hexadecimal digits"
    elif not isinstance(size, int) or not 0 < size <= largest:
        problem = f"size {size}, expected 1 to {largest} bytes"
    else:
        return _Remote(name, commit, etag if len(etag) == 64 else "", size, found.location)
    raise WeightsError(f"{endpoint}: invalid metadata of {name}: {problem}")


def _fetch(repository: str, revision: str, config: _Remote, also: Sequence[str]) -> Path:
    """Download ``config.json``, further files and the first available file of weights."""
    from huggingface_hub import constants

    described = (_describe_state(repository, name, config.commit) for name in STATE_FILES)
    state = next(filter(None, described), None)
    if state is None:
        raise WeightsError(f"{repository} holds no weights, expected {' or '.join(STATE_FILES)}")
    others = {name: _describe_state(repository, name, config.commit) for name in also}
    if None in others.values():
        raise WeightsError(f"{repository} lacks one of {', '.join(also)}")
    root = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    folder = root / "snapshots" / config.commit
    for file in (config, *filter(None, others.values()), state):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch_content(file, folder / file.name)
            if file is state and not _COMMIT.fullmatch(revision):
                write_text(root / "refs" / revision, config.commit)
        except (DownloadError, OSError) as error:
            reason = first_reason(error)
            raise WeightsError(f"{repository}: download failed: {file.name}: {reason}") from error
    return folder


def _describe_state(repository: str, name: str, commit: str) -> _Remote | None:
    """Request the metadata of a file of weights of the same commit."""
    try:
        found = _describe(repository, name, commit)
    except _UnreachableError as error:
        raise WeightsError(f"{repository}: download failed: {name}: {error}") from error
    if found is not None and found.commit != commit:
        raise WeightsError(f"{repository}: {name} is of commit {found.commit}, expected {commit}")
    return found


def _fetch_content(file: _Remote, path: Path) -> None:
    from huggingface_hub import constants, utils

    client: Any = utils
    is_own = urlsplit(file.url).netloc == urlsplit(constants.ENDPOINT).netloc
    with client.tqdm(
        total=file.n_bytes, unit="B", unit_scale=True, desc=file.name, disable=None
    ) as bar:
        fetch_file(
            file.url,
            path,
            sha256_start=file.sha256,
            max_bytes=file.n_bytes,
            headers=client.build_hf_headers() if is_own else None,
            on_progress=lambda n_done, _: bar.update(n_done - bar.n),
        )


def _cached_folder(repository: str, revision: str, also: Sequence[str] = ()) -> Path | None:
    """Return the folder of a revision in the cache, if it holds all that is needed."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, CONFIG_JSON, revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    here = {path.name for path in folder.iterdir() if path.is_file()}
    return folder if here.issuperset(also) and not here.isdisjoint(STATE_FILES) else None


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """Silence the client's log: errors are raised."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        set_verbosity(before)
