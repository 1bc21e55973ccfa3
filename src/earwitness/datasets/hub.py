"""Datasets of the Hugging Face hub by id, as Parquet files; no code of a dataset is run.

Conventions: ``hf:owner/name`` or ``hf:owner/name@revision``. All files come from one commit and are
kept in the cache of the hub's client, whose variables apply (``HF_ENDPOINT``, ``HF_HOME``,
``HF_HUB_OFFLINE``, token). Sizes and hashes are checked before a file counts as downloaded.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from earwitness.core.downloads import (
    DownloadError,
    check_address,
    explain_refusal,
    fetch_file,
    first_reason,
    within,
)
from earwitness.core.errors import DatasetError
from earwitness.core.io import write_text
from earwitness.datasets.catalog import Catalog, CatalogRequest, Layout
from earwitness.datasets.parquet_rows import ALL_SHARDS, Rows, catalog_parquet

PREFIX = "hf:"
_ID = re.compile(r"hf:([\w-][\w.-]*/[\w-][\w.-]*)(?:@([\w.-]+(?:/[\w.-]+)*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SLOWEST_BYTES_S = 100_000


class _Shard(NamedTuple):
    """A Parquet file on the hub."""

    name: str
    n_bytes: int
    sha256: str


def hub_layout(name: str, rows: Rows, *, shards: str = ALL_SHARDS) -> Layout:
    """Return the layout of a dataset of the hub; its place stands for a download.

    Args:
        name: ``hf:owner/name`` or ``hf:owner/name@revision``.
        rows: How its rows are labelled.
        shards: Glob of the Parquet files to read ("data/test-*.parquet").

    Raises:
        DatasetError: ``name`` is no id, or ``rows`` has no label.
    """
    found = _ID.fullmatch(name)
    if found is None or ".." in name:
        raise DatasetError(f"{name}: expected hf:owner/name or hf:owner/name@revision")
    if rows.label is None:
        raise DatasetError(f"{name}: no column with the class given, expected --label-column")
    repository, revision = found[1], found[2] or "main"
    on_hub = Path(name)

    def list_files(request: CatalogRequest) -> Catalog:
        folder = request.folder
        if folder == on_hub:
            folder = fetch_shards(repository, revision, shards)
        return catalog_parquet(repository, folder, [rows], shards=shards)

    return Layout(repository, list_files, place=on_hub)


def fetch_shards(repository: str, revision: str, pattern: str) -> Path:
    """Return the cached folder of a dataset's Parquet files, downloaded if needed.

    Raises:
        DatasetError: No such dataset, revision or file, a failed download, or no connection and
            nothing in the cache.
    """
    from huggingface_hub import constants

    root = Path(constants.HF_HUB_CACHE) / f"datasets--{repository.replace('/', '--')}"
    where = f"{PREFIX}{repository}"
    try:
        commit, shards = _describe(repository, revision)
    except ConnectionError as error:
        return _cached(root, revision, f"{where}: {error}")
    except DownloadError as error:
        raise DatasetError(f"{where}: {error}") from error
    wanted = [shard for shard in shards if fnmatch.fnmatchcase(shard.name, pattern)]
    if not wanted:
        found = ", ".join(shard.name for shard in shards[:5]) or "none"
        raise DatasetError(f"{where}: Parquet files {found}; expected {pattern}")
    folder = root / "snapshots" / commit
    for shard in wanted:
        try:
            _fetch(repository, commit, shard, folder / shard.name)
        except (DownloadError, OSError) as error:
            raise DatasetError(f"{where}: {shard.name}: {first_reason(error)}") from error
    if not _COMMIT.fullmatch(revision):
        write_text(root / "refs" / revision, commit)
    return folder


def _describe(repository: str, revision: str) -> tuple[str, list[_Shard]]:
    """Return commit and Parquet files; ``ConnectionError`` without an answer."""
    from huggingface_hub import HfApi, constants, errors

    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("offline (HF_HUB_OFFLINE is set)")
    endpoint = constants.ENDPOINT
    check_address(endpoint)
    timeout_s = float(constants.HF_HUB_ETAG_TIMEOUT)

    def ask() -> Any:
        api = HfApi(endpoint)
        return api.dataset_info(
            repository, revision=revision, files_metadata=True, timeout=timeout_s
        )

    try:
        found = within(max(60, timeout_s), ask)
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status >= 500:
            raise ConnectionError(f"{endpoint} answers with status {status}") from error
        where = f"{endpoint}/datasets/{repository}"
        raise DownloadError(explain_refusal(error, where, revision)) from error
    except DownloadError:
        raise
    except Exception as error:  # the client does not wrap errors of its HTTP library
        raise ConnectionError(f"{endpoint} cannot be reached ({first_reason(error)})") from error
    if not _COMMIT.fullmatch(found.sha or ""):
        raise DownloadError(f"{endpoint} is no hub (it names no commit)")
    return found.sha, sorted(_shards(found.siblings or ()))


def _shards(files: Any) -> Iterator[_Shard]:
    """Yield Parquet files whose metadata are valid."""
    for file in files:
        name, size = file.rfilename, file.size
        if not name.endswith(".parquet"):
            continue
        parts = PurePosixPath(name).parts
        sha256 = file.lfs.sha256 if file.lfs is not None else ""
        is_valid = not name.startswith("/") and not {"..", "\\", ""} & {*parts, *name.split("/")}
        if not is_valid or "\\" in name or not isinstance(size, int) or size < 1:
            raise DownloadError(f"invalid metadata of {name[:80]!r}")
        if sha256 and not _SHA256.fullmatch(sha256):
            raise DownloadError(f"invalid SHA-256 of {name[:80]!r}")
        yield _Shard(name, size, sha256)


def _fetch(repository: str, commit: str, shard: _Shard, path: Path) -> None:
    """Download a file unless one of its size is there: whole files alone get their names."""
    from huggingface_hub import constants, hf_hub_url, utils

    if path.is_file() and path.stat().st_size == shard.n_bytes:
        return
    client: Any = utils
    url = hf_hub_url(
        repository, shard.name, repo_type="dataset", revision=commit, endpoint=constants.ENDPOINT
    )
    name = PurePosixPath(shard.name).name
    with client.tqdm(
        total=shard.n_bytes, unit="B", unit_scale=True, desc=name, disable=None
    ) as bar:
        fetch_file(
            url,
            path,
            sha256_start=shard.sha256,
            max_bytes=shard.n_bytes,
            headers=client.build_hf_headers(),
            on_progress=lambda n_done, _: bar.update(n_done - bar.n),
            total_s=max(3600, shard.n_bytes / _SLOWEST_BYTES_S),
        )


def _cached(root: Path, revision: str, problem: str) -> Path:
    """Return the folder of a revision in the cache."""
    commit, ref = revision, root / "refs" / revision
    if ref.is_file():
        commit = ref.read_text(encoding="utf-8").strip()
    folder = root / "snapshots" / commit
    if not _COMMIT.fullmatch(commit) or not folder.is_dir():
        raise DatasetError(f"{problem}, and it is not in the cache")
    return folder
