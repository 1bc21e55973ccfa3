"""Shards of ``audit`` and ``render``, which share a folder, and the command that joins them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

import processes
from builders import write_tone
from cli.conftest import Outcome, Run
from cli.test_engines import LOCAL
from cli.test_shards import content, kill_after_rows
from earwitness.audit.audit import audit_into
from earwitness.splits.manifests import read_manifest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX has them")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with a broken and a missing file, and another that has two files of it."""
    folder = tmp_path_factory.mktemp("sets")
    for n in range(14):
        write_tone(folder / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=0.5, rate=16_000)
    (folder / "sound" / "3.wav").write_text("no sound")
    rows = "".join(f"{n}.wav,{n % 2}\n" for n in range(15))
    (folder / "m.csv").write_text(f"filepath,target\n{rows}")
    (folder / "train.csv").write_text("filepath,target\n0.wav,0\n5.wav,1\n")
    return folder


@pytest.fixture(scope="module")
def audited(sets: Path) -> Path:
    """The folder of an audit by one process."""
    names = ("m.csv", "train.csv")
    audited, trained = (read_manifest(sets / name, root=sets / "sound") for name in names)
    audit_into([audited], sets / "whole", against=[trained], n_workers=0)
    return sets / "whole"


def arguments(command: str, sets: Path, out: Path, *more: str) -> list[str]:
    own = {
        "audit": ["--against", str(sets / "train.csv")],
        "render": ["--size", "16", "--clip-s", "0.25"],
    }
    given = ["--manifest", str(sets / "m.csv"), "--root", str(sets / "sound"), "--out", str(out)]
    return [command, *given, *own[command], "--num-workers", "0", *more]


def joining(done: Outcome) -> list[str]:
    """Return the arguments of the command that is named for when all shards are done."""
    assert done.code == 0, done.err
    return shlex.split(done.out.split("when all are done: earwitness ")[1])


def lines(store: Path) -> dict[str, list[bytes]]:
    return {path.name: sorted(path.read_bytes().splitlines()) for path in store.glob("*.jsonl")}


def test_an_audit_by_tasks_of_which_one_was_killed_before_is_one_audit(
    sets: Path, audited: Path, tmp_path: Path, run: Run
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed (earwitness[slurm])")
    out = tmp_path / "audit"
    store = out / "shards" / "shard-1-of-2" / "store" / "sounds-v2.jsonl"
    kill_after_rows(arguments("audit", sets, out, "--shard", "1/2"), store, 1)
    whole_rows = store.read_bytes().rpartition(b"\n")[0]
    refused = run(*arguments("audit", sets, out))
    assert refused.code == 2
    assert f"earwitness: {out}: incomplete: shard 1/2 lacks " in refused.err
    submitted = run(*arguments("audit", sets, out, *LOCAL, "--shards", "2"))
    assert submitted.out.startswith("2 tasks submitted")
    assert store.read_bytes().startswith(whole_rows)
    assert run("status", out).out.endswith("2 of 2 complete, 15 of 15 files done\n")
    assert run(*joining(submitted)).code == 0
    assert content(out) == content(audited)
    assert lines(out / "store") == lines(audited / "store")


def test_an_audit_by_tasks_of_ray_is_one_audit(sets: Path, audited: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed (earwitness[ray])")
    out = tmp_path / "audit"
    command = arguments("audit", sets, out, "--engine", "ray", "--shards", "2")
    done = processes.finish(processes.start([sys.executable, "-m", "earwitness", *command]))
    assert done[0] == 0, done
    assert not (out / "shards").exists()
    assert content(out) == content(audited)
    assert lines(out / "store") == lines(audited / "store")


def test_shards_of_images_of_which_one_was_left_out_are_one_folder(
    sets: Path, tmp_path: Path, run: Run
) -> None:
    assert run(*arguments("render", sets, tmp_path / "whole")).code == 0
    out = tmp_path / "images"
    last = joining(run(*arguments("render", sets, out, "--shard", "2/2")))
    n_done = int(run("status", out, "--seconds", "0").out.split("shard-2-of-2: ")[1].split()[0])
    n_left = 15 - n_done
    refused = run(*last)
    lacks = f"shard 1/2 lacks {n_left} of {n_left} files: earwitness "
    assert (refused.code, lacks in refused.err) == (2, True)
    command = refused.err.split(lacks)[1].split(". Without")[0]
    assert joining(run(*shlex.split(command))) == last
    assert not (out / "manifest.csv").exists()
    joined = run(*last).out
    assert "13 images of 13 files, 13 of them kept; 2 could not be rendered" in joined
    assert content(out) == content(tmp_path / "whole")


def test_shards_of_another_pass_are_refused(sets: Path, tmp_path: Path, run: Run) -> None:
    command = arguments("render", sets, tmp_path / "images")
    for shard in ("1/2", "2/2"):
        assert run(*command, "--shard", shard).code == 0
    for more, change in (
        (("--windows", "2"), 'shard windows was "published", is 2'),
        (("--clip-s", "0.2"), "shard contract hop was 267, is 213"),
        (("--manifest", str(sets / "train.csv")), "shard manifests train was null, is "),
    ):
        refused = run(*command, *more)
        assert (refused.code, change in refused.err) == (2, True), refused.err
    refused = run(*command, "--shard", "1/2", "--clip-s", "0.2")
    assert "other rendering parameters" in refused.err
    refused = run(*command, "--shard", "1/3")
    assert "shards: has shard-1-of-2, expected shards of 3 or another folder" in refused.err


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("audit", "--engine", "ray"), "--engine ray: expected --out RUN_FOLDER and --shards N"),
        (
            ("render", "--engine", "ray", "--shards", "2", "--engine-option", "num_gpus=1"),
            "--engine-option: num_gpus: ",
        ),
        (("render", "--shard", "1/2", "--resume", "always"), "--resume always: expected missing"),
        (
            ("audit", "--engine", "slurm", "--shards", "2", "--engine-option", "x"),
            "--engine-option x: expected KEY=VALUE",
        ),
        (("audit", "--shard", "3/2"), "--shard 3/2: expected K/N"),
    ],
)
def test_what_shards_of_files_cannot_do_is_refused_in_one_line(
    sets: Path, tmp_path: Path, run: Run, given: tuple[str, ...], message: str
) -> None:
    command, *more = given
    refused = run(*arguments(command, sets, tmp_path / "out", *more))
    assert refused.code == 2
    assert refused.err.startswith(f"earwitness: {message}")
    assert refused.err.count("\n") == 1
