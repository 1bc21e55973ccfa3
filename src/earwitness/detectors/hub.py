"""Weights from the Hugging Face hub: its client asks, and its cache holds them.

Conventions: a hub id is ``owner/name`` or ``owner/name@revision``. The client's variables hold:
``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE``, its token. What is fetched is of one commit, even
if the repository changes meanwhile. Where the hub cannot be reached, what the cache holds of the
revision is taken; the client's own retries, which take half a minute, are not waited for.

The client trusts what an endpoint answers: an ETag of ``../../x`` becomes the path of a file. So it
is asked for a file's description alone. Commit, ETag, size and address are checked before anything
is written, and a large file's content has to have the SHA-256 that its ETag states.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from earwitness.core.errors import WeightsError
from earwitness.core.io import write_text
from earwitness.detectors.base import CONFIG_JSON
from earwitness.detectors.downloads import DownloadError, check_address, fetch_file, within
from earwitness.detectors.spectttra import STATE_FILES

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w.-]+(/[\w.-]+)*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_DEFAULT_REVISION = "main"
_LARGEST_BYTES = {CONFIG_JSON: 1 << 20}
_LARGEST_STATE = 4 << 30
_ANSWER_S = 60.0
"""Longest wait for a file's description, however slowly it comes."""


class _UnreachableError(Exception):
    """The hub gave no answer; the message says why."""


@dataclass(frozen=True)
class _Remote:
    """A file on the hub, as its endpoint describes it; every field is checked.

    Attributes:
        name: Its name in the repository.
        commit: 40 hexadecimal digits.
        sha256: Its SHA-256; "" where the hub states none, as for small files.
        n_bytes: Its length.
        url: Where its content is.
    """

    name: str
    commit: str
    sha256: str
    n_bytes: int
    url: str


def is_hub_id(text: str) -> bool:
    """Tell whether a text has the form ``owner/name`` or ``owner/name@revision``."""
    return _HUB_ID.fullmatch(text) is not None and ".." not in text


def fetch_folder(hub_id: str) -> Path:
    """Return the folder of a repository's ``config.json`` and state, fetched where need be.

    Args:
        hub_id: See ``is_hub_id``.

    Raises:
        WeightsError: No such repository, revision or file; a download that failed; or no hub and
            nothing in the cache. One line without the id.
    """
    if not is_hub_id(hub_id):
        raise WeightsError("no hub id, expected owner/name or owner/name@revision")
    repository, _, revision = hub_id.partition("@")
    revision = revision or _DEFAULT_REVISION
    with _quiet_client():
        if _COMMIT.fullmatch(revision) and (folder := _cached_folder(repository, revision)):
            return folder
        try:
            config = _describe(repository, CONFIG_JSON, revision)
        except _UnreachableError as error:
            if (folder := _cached_folder(repository, revision)) is None:
                raise WeightsError(f"{error}, and its cache does not hold it") from error
            return folder
        if config is None:
            raise WeightsError(f"{repository} holds no {CONFIG_JSON} at revision {revision!r}")
        return _cached_folder(repository, config.commit) or _fetch(repository, revision, config)


def find_cached(hub_id: str) -> Path | None:
    """Return the folder of a repository in the client's cache, without asking the hub.

    Args:
        hub_id: See ``is_hub_id``.
    """
    repository, _, revision = hub_id.partition("@")
    return _cached_folder(repository, revision or _DEFAULT_REVISION)


def _describe(repository: str, name: str, revision: str) -> _Remote | None:
    """Return what the hub says of a file, asking it once; ``None`` where it holds no such file.

    Raises:
        WeightsError: The hub does not know it, or what it says cannot be used.
        _UnreachableError: The hub did not answer, or not as one.
    """
    from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        raise _UnreachableError("the hub is not asked (HF_HUB_OFFLINE is set)")
    endpoint = constants.ENDPOINT
    url = hf_hub_url(repository, name, revision=revision, endpoint=endpoint)
    seconds = float(constants.HF_HUB_ETAG_TIMEOUT)
    try:
        check_address(endpoint)
    except DownloadError as error:
        raise WeightsError(f"{error}") from error
    try:
        found = within(max(_ANSWER_S, seconds), lambda: get_hf_file_metadata(url, timeout=seconds))
    except errors.EntryNotFoundError:
        return None
    except errors.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code >= 500:
            status = error.response.status_code
            raise _UnreachableError(f"{endpoint} answers with status {status}") from error
        raise WeightsError(_explain(error, f"{endpoint}/{repository}", revision)) from error
    except Exception as error:  # the client lets its transport's errors through, whichever it is
        raise _UnreachableError(f"{endpoint} cannot be reached ({_first_line(error)})") from error
    if found.commit_hash is None:
        raise _UnreachableError(f"{endpoint} is no hub (it names no commit)")
    return _checked(name, found, endpoint)


def _checked(name: str, found: Any, endpoint: str) -> _Remote:
    """Return a file's description; nothing of it reaches a path before it is checked.

    Raises:
        WeightsError: A part of it is not what a hub says.
    """
    commit, etag, size = found.commit_hash, found.etag or "", found.size
    largest = _LARGEST_BYTES.get(name, _LARGEST_STATE)
    if not _COMMIT.fullmatch(commit):
        problem = f"commit {commit[:60]!r}, expected 40 hexadecimal digits"
    elif not _ETAG.fullmatch(etag):
        problem = f"ETag {etag[:80]!r}, expected 40 or 64 hexadecimal digits"
    elif not isinstance(size, int) or not 0 < size <= largest:
        problem = f"size {size}, expected 1 to {largest} bytes"
    else:
        return _Remote(name, commit, etag if len(etag) == 64 else "", size, found.location)
    raise WeightsError(f"{endpoint} is not to be trusted with {name}: it answers with {problem}")


def _explain(error: Exception, where: str, revision: str) -> str:
    """Say what the hub's refusal means."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"{where} is gated; ask for access on its page and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{where} is not there, or private"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{where} has no revision {revision!r}"
    return f"{where}: {_first_line(error)}"


def _fetch(repository: str, revision: str, config: _Remote) -> Path:
    """Return the folder of one commit, ``config.json`` and one state in it."""
    described = (_describe_again(repository, name, config.commit) for name in STATE_FILES)
    state = next(filter(None, described), None)
    if state is None:
        raise WeightsError(f"{repository} holds no weights, expected {' or '.join(STATE_FILES)}")
    root = _cache_root(repository)
    folder = root / "snapshots" / config.commit
    for file in (config, state):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch_content(file, folder / file.name)
            if file is state and not _COMMIT.fullmatch(revision):
                write_text(root / "refs" / revision, config.commit)
        except (DownloadError, OSError) as error:
            reason = _first_line(error)
            raise WeightsError(f"{repository}: download failed: {file.name}: {reason}") from error
    return folder


def _describe_again(repository: str, name: str, commit: str) -> _Remote | None:
    """Describe a further file of a commit."""
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


def _cache_root(repository: str) -> Path:
    """Return the folder of a repository in the client's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"


def _cached_folder(repository: str, revision: str) -> Path | None:
    """Return the folder of a revision in the cache, if it holds all that is needed."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, CONFIG_JSON, revision=revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if any((folder / name).is_file() for name in STATE_FILES) else None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """Keep the client's log off the terminal: what matters of it becomes the error."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity

    before = get_verbosity()
    set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        set_verbosity(before)
