"""How a server ends: what was uploaded is deleted."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from processes import finish, start
from web.conftest import Visitor
from websites import Site


@pytest.mark.parametrize(
    ("sent", "status", "host"),
    [(signal.SIGTERM, 143, "127.0.0.1"), (signal.SIGINT, 130, "0.0.0.0")],  # noqa: S104
)
def test_uploads_are_deleted_at_the_end_and_an_open_host_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, status: int, host: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    options = ["--host", host, "--port", 0, "--detector", "comb", "--public-name", "a.example"]
    process = start([sys.executable, "-m", "earwitness", "serve", *options])
    assert process.stdout is not None
    address = process.stdout.readline().split()[1]
    visitor = Visitor(Site(address.rstrip("/"), songs=None))
    assert visitor.upload(("text.mp3", b"hello")).status_code == 201
    named = {"Host": "a.example", "Origin": "https://a.example"}
    assert visitor.upload(("text.mp3", b"hello"), **named).status_code == 201
    assert visitor.http.get("/", headers={"Host": "b.example"}).status_code == 421
    visitor.http.close()
    assert list(tmp_path.glob("earwitness-serve-*/*"))
    process.send_signal(sent)
    ended, _, errors = finish(process)
    assert ended == status
    warned = f"warning: listening on {host}, so everyone who reaches this machine can upload"
    assert (warned in " ".join(errors.split())) == (host != "127.0.0.1")
    assert not list(tmp_path.glob("earwitness-serve-*"))
