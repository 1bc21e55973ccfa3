"""How a server ends: what was uploaded is deleted."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from processes import finish, start
from web.conftest import Visitor
from websites import Site


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_uploads_are_deleted_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, status: int
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = start(
        [sys.executable, "-m", "earwitness", "serve", "--port", 0, "--detector", "comb"]
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[1]
    visitor = Visitor(Site(address.rstrip("/"), songs=None))
    assert visitor.upload(("text.mp3", b"hello")).status_code == 201
    visitor.http.close()
    assert list(tmp_path.glob("earwitness-serve-*/*"))
    process.send_signal(sent)
    assert finish(process)[0] == status
    assert not list(tmp_path.glob("earwitness-serve-*"))
