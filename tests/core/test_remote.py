from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import webservers
from earwitness.core import cache
from earwitness.core.errors import ManifestError, RunError, UsageError
from earwitness.core.io import read_parquet, refusal
from earwitness.core.remote import RemotePath, is_url, present, recorded_name, redact, to_path

SIGNED = "https://host/a/b.mp3?X-Amz-Signature=5ec&x=//y"


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[webservers.Web]:
    monkeypatch.setenv(cache.CACHE_DIR, str(tmp_path / "copies"))
    monkeypatch.setenv(cache.TIMEOUT, "0.3")
    monkeypatch.setenv(cache.TRIES, "2")
    with webservers.web_server() as server:
        server.files = {"a.wav": bytes(range(256)) * 400}
        yield server


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


def copies(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "copies").iterdir() if not path.name.startswith(".")]


def test_a_url_behaves_like_a_path() -> None:
    root = to_path("s3://bucket/data")
    file = root / "real/a.mp3"
    assert os.fspath(file) == str(file) == file.as_posix() == "s3://bucket/data/real/a.mp3"
    assert (file.name, file.stem, file.suffix) == ("a.mp3", "a", ".mp3")
    assert file.parent == root / "real"
    assert [str(p) for p in root.parents] == ["s3://bucket"]
    assert file.relative_to(root) == Path("real/a.mp3")
    assert file.absolute() == file.resolve() == file
    assert pickle.loads(pickle.dumps(file)) == file  # noqa: S301 - ours
    assert root / "s3://other/b.mp3" == RemotePath("s3://other/b.mp3")
    assert {file, root / "real" / "a.mp3"} == {file}


def test_a_url_that_was_made_a_path_is_mended() -> None:
    for url in ("s3://bucket/a.mp3", "tar://t/a.mp3::s3://bucket/1.tar", "https://host/a.mp3"):
        assert to_path(Path(url)) == to_path(url) == RemotePath(url)
    assert (
        to_path("file:///data/a.mp3") == to_path(Path("file:///data/a.mp3")) == Path("/data/a.mp3")
    )


def test_names_below_a_web_server_are_those_of_files(web: webservers.Web) -> None:
    web.files = {f"a/{name}": name.encode() for name in ("ö #1?.mp3", "p%20q.mp3", "a::b.mp3")}
    root = to_path(f"{web.url('plain')}?sig=5ec")
    for name, content in web.files.items():
        path = root / name
        assert path.read_bytes() == content
        assert (path.name, path.relative_to(root)) == (Path(name).name, Path(name))
    assert web.asked[0] == "HEAD /plain/a/%C3%B6%20%231%3F.mp3?sig=5ec"
    assert to_path(web.url("plain/a/p%2520q.mp3")).read_bytes() == b"p%20q.mp3"
    assert to_path(web.url("plain/a/a::b.mp3")).read_bytes() == b"a::b.mp3"


@pytest.mark.parametrize(
    ("url", "archive", "below"),
    [
        ("tar://a::b.mp3::/x.tar", "/x.tar", "tar://a::b.mp3/c::/x.tar"),
        ("tar://a::http://[::1]/x.tar", "http://[::1]/x.tar", "tar://a/c::http://[::1]/x.tar"),
        ("tar://::x.tar", "x.tar", "tar://c::x.tar"),
        ("http://[::1]/a::b", "http://[::1]", "http://[::1]/a::b/c"),
        ("s3://bucket/a?/b::c", "s3://bucket/a?", "s3://bucket/a?/b::c/c"),
    ],
)
def test_only_tar_files_have_members(url: str, archive: str, below: str) -> None:
    assert os.fspath(to_path(url).parent) == archive
    assert os.fspath(to_path(url) / "c") == below


@given(st.text(max_size=30).filter(lambda text: "://" not in text))
def test_other_text_is_a_local_path(text: str) -> None:
    assert not is_url(text)
    assert type(to_path(text)) is type(Path())
    assert recorded_name(text) == os.path.abspath(text)  # noqa: PTH100 - any text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://me:word@host/a.mp3", "https://host/a.mp3"),
        ("s3://me:word@bucket/a.mp3", "s3://bucket/a.mp3"),
        ("tar://a.mp3::https://me:word@host/1.tar", "tar://a.mp3::https://host/1.tar"),
        ("got https://host/a b.mp3?sig=word from 'x'", "got https://host/a b.mp3?redacted-"),
        ("https:/me:word@host/a.mp3?sig=word: none", "https:/host/a.mp3?redacted-"),
        ("https://me:wo@rd@host/a.mp3", "https://host/a.mp3"),
        ("s3://key:wo/rd@bucket/a.mp3", "s3://bucket/a.mp3"),
        ("https://host:80/a@b.mp3", "https://host:80/a@b.mp3"),
        ("tar://a@b.mp3::/1.tar", "tar://a@b.mp3::/1.tar"),
        ("https://host/it's.mp3?sig=word", "https://host/it's.mp3?redacted-"),
        ("https://host/a?redacted-0a1b2c3d: no", "https://host/a?redacted-0a1b2c3d: no"),
        ("https://host/why? nothing", "https://host/why? nothing"),
        ("s3://bucket/what?.mp3", "s3://bucket/what?.mp3"),
    ],
)
def test_credentials_are_left_out_of_text(given: str, shown: str) -> None:
    assert redact(given).startswith(shown)
    assert "word" not in redact(given)
    assert "rd@" not in redact(given)
    assert redact(redact(given)) == redact(given)


def test_signed_urls_stay_distinct_and_are_opened_as_given() -> None:
    one, other = RemotePath(SIGNED), RemotePath(SIGNED + "z")
    assert "5ec" not in f"{one} {one!r} {one.as_posix()}"
    assert str(one) != str(other)
    assert "5ec" not in str(to_path(f"{SIGNED} and' more&sig=5ec"))
    assert os.fspath(one) == SIGNED
    assert one.name == "b.mp3"


def test_a_copy_is_fetched_once(web: webservers.Web, tmp_path: Path) -> None:
    path = to_path(web.url("plain/a.wav"))
    assert path.read_bytes() == path.read_bytes() == web.files["a.wav"]
    assert web.asked == ["HEAD /plain/a.wav", "GET /plain/a.wav"]
    assert [copy.suffix for copy in copies(tmp_path)] == [".wav"]


def test_a_copy_that_is_fetched_again_has_the_time_of_change_of_the_first(
    web: webservers.Web, tmp_path: Path
) -> None:
    path = to_path(web.url("plain/a.wav"))
    before = path.stat()
    copies(tmp_path)[0].unlink()
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_server_that_fails_for_a_while_is_asked_again(web: webservers.Web) -> None:
    assert to_path(web.url("flaky/a.wav")).read_bytes() == web.files["a.wav"]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("drops/a.wav", r"the server ended its answer early.* \(2 tries\)"),
        ("stalls/a.wav", r"no answer within 0.3 s \(2 tries\)"),
        ("short/a.wav", r"51200 bytes came, expected 102400 \(2 tries\)"),
        ("plain/none.wav", "no such file"),
        ("403/a.wav", "no permission to read it"),
        ("500/a.wav", r"the server answered 500 \(2 tries\)"),
        ("418/a.wav", "the server answered 418"),
        ("circle/a.wav", "too many redirects"),
    ],
)
def test_what_cannot_be_fetched_has_its_reason(
    web: webservers.Web, tmp_path: Path, place: str, reason: str
) -> None:
    url = web.url(place, user="me:word@") + "?token=word"
    with pytest.raises(OSError, match=reason) as found:
        to_path(url).open("rb")
    assert "word" not in f"{found.value} {found.value.__cause__}"
    assert not any((tmp_path / "copies").glob("*"))


def test_a_body_longer_than_stated_is_cut_or_refused(web: webservers.Web) -> None:
    reason, content = "", b""
    try:
        content = to_path(web.url("long/a.wav")).read_bytes()
    except OSError as error:  # if the rest comes before the client has closed the connection
        reason = str(error)
    assert content == web.files["a.wav"][: 128 * 400] or "it is not HTTP" in reason


def test_a_server_that_is_not_there_is_an_error(web: webservers.Web) -> None:
    with pytest.raises(OSError, match="tries"):
        to_path("http://127.0.0.1:9/a.wav").open("rb")
    with pytest.raises(OSError, match="no secure connection"):
        to_path(web.url("plain/a.wav").replace("http", "https")).open("rb")


def test_a_folder_that_cannot_hold_copies_is_no_error_of_a_row(
    web: webservers.Web, tmp_path: Path
) -> None:
    (tmp_path / "copies").touch()
    with pytest.raises(RunError, match=r"copies: cannot hold copies of files \(.+\), --cache-dir"):
        to_path(web.url("plain/a.wav")).open("rb")


def test_the_reason_why_a_bucket_cannot_be_listed_is_told(
    web: webservers.Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in webservers.s3_environment("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(OSError, match="Could not connect") as found:
        present("s3://unreachable/a.wav")
    assert "Could not connect" in str(refusal(found.value))


def test_the_least_recently_used_copies_make_room(
    web: webservers.Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.CACHE_SIZE, "250000")
    web.files |= dict.fromkeys(("b.wav", "c.wav"), web.files["a.wav"])
    a, b, c = (to_path(web.url(f"plain/{name}.wav")) for name in "abc")
    held = a.open("rb")
    for path in (b, a, c):
        path.read_bytes()
    assert len(copies(tmp_path)) == 2
    b.read_bytes()
    a.read_bytes()
    assert [line for line in web.asked if line.startswith("GET")] == [
        f"GET /plain/{name}.wav" for name in "abcba"
    ]
    assert held.read() == web.files["a.wav"]
    held.close()
    monkeypatch.setenv(cache.CACHE_SIZE, "1000")
    web.files["d.wav"] = web.files["a.wav"]
    with pytest.raises(OSError, match="102400 bytes, more than the 1000 of the cache"):
        to_path(web.url("plain/d.wav")).open("rb")


def test_members_of_tar_files_are_read(
    web: webservers.Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.mp3", "b.mp3"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    with tarfile.open(tmp_path / "0001.tar", "w") as archive:
        archive.add(tmp_path / "a.mp3", "x/a.mp3")
        archive.add(tmp_path / "b.mp3", "./b.mp3")
    web.files["0001.tar"] = (tmp_path / "0001.tar").read_bytes()
    for inner in (web.url("plain/0001.tar"), str(tmp_path / "0001.tar")):
        assert to_path(f"tar://x/a.mp3::{inner}").read_bytes() == b"a.mp3" * 100
        assert to_path(f"tar://b.mp3::{inner}").read_bytes() == b"b.mp3" * 100
        with pytest.raises(FileNotFoundError, match="no such file"):
            to_path(f"tar://c.mp3::{inner}").open("rb")
    assert web.asked == ["HEAD /plain/0001.tar", "GET /plain/0001.tar"]
    with pytest.raises(OSError, match="cannot be read as an uncompressed tar file"):
        to_path(f"tar://a.mp3::{tmp_path / 'a.mp3'}").open("rb")


@pytest.fixture
def hub(
    web: webservers.Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[webservers.Web]:
    from huggingface_hub import HfFileSystem, constants

    with webservers.web_server(hub=True) as hub:
        hub.files = web.files | {"real/x/b.wav": b"b" * 100}
        endpoint, template = f"http://127.0.0.1:{hub.server_port}", "HUGGINGFACE_CO_URL_TEMPLATE"
        address = getattr(constants, template).replace(constants.ENDPOINT, endpoint)
        monkeypatch.setattr(constants, template, address)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        HfFileSystem.clear_instance_cache()
        yield hub
        HfFileSystem.clear_instance_cache()


def test_files_of_the_hub_are_listed_and_fetched(hub: webservers.Web, tmp_path: Path) -> None:
    root = to_path("hf://datasets/owner/name")
    assert root.walk_files() == ["a.wav", "real/x/b.wav"]
    assert (root / "real").is_dir()
    assert (root / "a.wav").read_bytes() == hub.files["a.wav"]
    assert (root / "real/x/b.wav").read_bytes() == b"b" * 100
    assert [copy.suffix for copy in copies(tmp_path)] == [".wav"] * 2
    assert not present("hf://datasets/owner/name/none.wav")
    with pytest.raises(FileNotFoundError, match="no such file"):
        (root / "none.wav").open("rb")


def test_a_hub_that_does_not_answer_is_not_waited_for_without_end(hub: webservers.Web) -> None:
    from huggingface_hub import get_session

    assert present("hf://datasets/owner/name/a.wav")
    hub.silent = "/plain/"
    with pytest.raises(Exception, match="timed out"):
        get_session().get(hub.url("plain/a.wav"), timeout=None)


def test_folders_of_an_object_store_are_listed(memory: fsspec.AbstractFileSystem) -> None:
    for name in ("root/a.wav", "root/b/c.wav"):
        memory.pipe(f"/{name}", b"x")
    root = to_path("memory://root")
    assert root.is_dir()
    assert (root / "a.wav").is_file()
    assert not (root / "b").is_file()
    assert not (root / "d.wav").exists()
    assert present("memory://root/b/c.wav")
    assert [path.name for path in root.iterdir()] == ["a.wav", "b"]
    assert root.walk_files() == ["a.wav", "b/c.wav"]
    assert not to_path("memory://other").exists()


def test_files_of_a_bucket_that_may_not_be_listed_are_read(
    web: webservers.Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in webservers.s3_environment(web.url("")).items():
        monkeypatch.setenv(name, value)
    folder = to_path("s3://unlisted")
    assert present("s3://unlisted/a.wav")
    assert (folder / "a.wav").read_bytes() == web.files["a.wav"]
    for lists in (folder.iterdir, folder.walk_files):
        with pytest.raises(PermissionError, match="no permission to"):
            list(lists())
    with pytest.raises(PermissionError, match="no permission to read it"):
        (folder / "none.wav").open("rb")
    assert not present("s3://no-bucket/a.wav")


def test_other_schemes_are_refused() -> None:
    for url in ("ftp://host/a.wav", "reference://x", "simplecache::https://host/a.wav"):
        with pytest.raises(OSError, match=r"is not opened|No such file"):
            to_path(url).open("rb")


@pytest.mark.parametrize(("text", "n_bytes"), [("500M", 500 << 20), ("2GiB", 2 << 30), ("7", 7)])
def test_sizes_have_units(text: str, n_bytes: int) -> None:
    assert cache.parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "0", "-1", "5X", "1.5G"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size like 500M or 20G"):
        cache.parse_size(text)


def test_a_damaged_table_at_a_url_is_named_without_its_credentials(web: webservers.Web) -> None:
    web.files["m.parquet"] = b"not parquet"
    with pytest.raises(ManifestError, match=r"m\.parquet.*cannot be read as a table") as caught:
        read_parquet(to_path(f"{web.url('plain/m.parquet')}?sig=HUSH"), error=ManifestError)
    assert "HUSH" not in str(caught.value)
