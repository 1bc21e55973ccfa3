"""Weights from the Hugging Face hub, through its own client and cache.

Conventions: a hub id is ``owner/name`` or ``owner/name@revision``. The client's variables hold:
``HF_ENDPOINT``, ``HF_HOME``, ``HF_HUB_OFFLINE``, its token. What is fetched is of one commit, even
if the repository changes meanwhile. Where the hub cannot be reached, what the cache holds of the
revision is taken; the client's own retries, which take half a minute, are not waited for.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from earwitness.core.errors import WeightsError
from earwitness.detectors.spectttra_config import CONFIG_JSON, STATE_FILES

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w.-]+(/[\w.-]+)*)?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DEFAULT_REVISION = "main"


class _UnreachableError(Exception):
    """The hub gave no answer; the message says why."""


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
    repository, _, revision = hub_id.partition("@")
    revision = revision or _DEFAULT_REVISION
    with _quiet_client():
        try:
            commit = _find_commit(repository, revision)
        except _UnreachableError as error:
            if (folder := _cached_folder(repository, revision)) is None:
                raise WeightsError(f"{error}, and its cache does not hold it") from error
            return folder
        return _cached_folder(repository, commit) or _fetch(repository, revision)


def find_cached(hub_id: str) -> Path | None:
    """Return the folder of a repository in the client's cache, without asking the hub.

    Args:
        hub_id: See ``is_hub_id``.
    """
    repository, _, revision = hub_id.partition("@")
    return _cached_folder(repository, revision or _DEFAULT_REVISION)


def _find_commit(repository: str, revision: str) -> str:
    """Return the commit that a revision stands for, asking the hub once.

    Raises:
        WeightsError: The hub does not know it.
        _UnreachableError: The hub did not answer, or not as one.
    """
    from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

    if _COMMIT.fullmatch(revision) and _cached_folder(repository, revision) is not None:
        return revision
    if constants.HF_HUB_OFFLINE:
        raise _UnreachableError("the hub is not asked (HF_HUB_OFFLINE is set)")
    endpoint = constants.ENDPOINT
    url = hf_hub_url(repository, CONFIG_JSON, revision=revision, endpoint=endpoint)
    try:
        commit = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT).commit_hash
    except errors.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code >= 500:
            status = error.response.status_code
            raise _UnreachableError(f"{endpoint} answers with status {status}") from error
        raise WeightsError(_explain(error, f"{endpoint}/{repository}", revision)) from error
    except Exception as error:  # the client lets its transport's errors through, whichever it is
        raise _UnreachableError(f"{endpoint} cannot be reached ({_first_line(error)})") from error
    if commit is None:
        raise _UnreachableError(f"{endpoint} is no hub (it names no commit)")
    return commit


def _explain(error: Exception, where: str, revision: str) -> str:
    """Say what the hub's refusal means."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return f"{where} is gated; ask for access on its page and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{where} is not there, or private"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{where} has no revision {revision!r}"
    if isinstance(error, errors.EntryNotFoundError):
        return f"{where} holds no {CONFIG_JSON} at revision {revision!r}"
    return f"{where}: {_first_line(error)}"


def _fetch(repository: str, revision: str) -> Path:
    """Return the folder of one commit of a revision, ``config.json`` and one state in it."""
    from huggingface_hub import errors, hf_hub_download

    try:
        folder = Path(hf_hub_download(repository, CONFIG_JSON, revision=revision)).parent
        for name in STATE_FILES:
            try:
                return Path(hf_hub_download(repository, name, revision=folder.name)).parent
            except errors.LocalEntryNotFoundError:
                raise  # the hub gave no answer
            except errors.EntryNotFoundError:
                continue
    except Exception as error:  # as above, and whatever the disk says
        raise WeightsError(f"{repository}: download failed: {_first_line(error)}") from error
    raise WeightsError(f"{repository} holds no weights, expected {' or '.join(STATE_FILES)}")


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
