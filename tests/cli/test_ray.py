"""Scoring on Ray gives what one machine gives; results of other processes count once."""

from __future__ import annotations

import random
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

import processes
from builders import write_tone
from cli.conftest import Run
from earwitness.core.errors import UsageError
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import FileScore
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.scoring.batching import OpenFile, Scorers, Tally
from earwitness.scoring.clips import Job
from earwitness.scoring.predict import plan_scoring, score_plan
from earwitness.scoring.ray_cluster import ray_cluster
from earwitness.scoring.ray_data import Pool, fit_pool, in_order
from earwitness.scoring.workers import decode_files
from earwitness.splits.manifests import read_manifest


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of one and of many windows, one broken and one missing, in a folder with a space."""
    folder = tmp_path_factory.mktemp("zwei Räume")
    for n in range(5):
        write_tone(folder / "sound" / f"{n}.wav", hz=200 + 37 * n, seconds=1.0)
    write_tone(folder / "sound" / "long.wav", hz=300, seconds=180.0)
    (folder / "sound" / "3.wav").write_text("no sound")
    names = [*range(5), "long", 99]
    rows = [f"{name}.wav,{n % 2},{n / 10}\n" for n, name in enumerate(names)]
    (folder / "m.csv").write_text("filepath,target,skip_time\n" + "".join(rows))
    for seed, name in enumerate(("mine", "other")):
        card = fakeprint_card(name=name, trained_on=None, training_items=None)
        weights = np.random.default_rng(seed).standard_normal(4_087)
        save_fakeprint(card, weights, 0.5, folder / name)
    return folder


@pytest.fixture(scope="module")
def manifest(data: Path) -> Manifest:
    return read_manifest(data / "m.csv", root=data / "sound")


def test_scores_of_parts_from_other_processes_join_in_any_order_and_count_once(
    data: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.scoring.clips.PART_BYTES", 2**20)
    from earwitness.detectors.loading import open_detector

    whole, joined = (
        plan_scoring([manifest], [open_detector(str(data / "mine"))], windows="all")
        for _ in range(2)
    )
    score_plan(whole, n_workers=0)
    target = joined.tallies[0]
    assert isinstance(target, Tally)
    found: list[tuple[Job, FileScore | OpenFile]] = []
    for decoded in decode_files(joined.tasks, n_workers=0):
        alone = Tally(detector=target.detector, request=target.request)
        with Scorers([target.detector], 1) as scorers:
            scorers.add([alone], decoded)
            scorers.finish([alone])
        found += alone.results().items()
    assert sum(job.path.endswith("long.wav") for job, _ in found) > 1
    random.Random(0).shuffle(found)  # noqa: S311
    for job, part in (*found, *found):
        target.join(job, part)
    assert target.finished == whole.tallies[0].finished


def test_parts_of_files_come_in_the_order_of_tasks(
    data: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earwitness.scoring.clips.PART_BYTES", 2**20)
    from earwitness.detectors.loading import open_detector

    tasks = plan_scoring([manifest], [open_detector(str(data / "mine"))], windows="all").tasks
    parts = list(decode_files(tasks, n_workers=0))
    straight = [(part.job, part.part) for part in in_order(tasks, iter(parts))]
    random.Random(1).shuffle(parts)  # noqa: S311
    assert [(part.job, part.part) for part in in_order(tasks, iter(parts))] == straight
    assert straight == sorted(straight, key=lambda at: [task.job for task in tasks].index(at[0]))


def test_pools_leave_processors_to_decode() -> None:
    assert fit_pool(Pool(), 2, n_cpus=2, n_gpus=0) == Pool(actors=1, num_cpus=0.5)
    assert fit_pool(Pool(), 1, n_cpus=64, n_gpus=0) == Pool(actors=32, num_cpus=1)
    on_gpus = fit_pool(Pool(num_gpus=1), 2, n_cpus=64, n_gpus=8)
    assert on_gpus == Pool(actors=4, num_cpus=1, num_gpus=1)
    assert fit_pool(Pool(num_gpus=0.5), 2, n_cpus=8, n_gpus=1).actors == 1


@pytest.mark.parametrize(
    ("pool", "n_cpus", "n_gpus"),
    [(Pool(num_cpus=1), 2, 0), (Pool(num_gpus=1), 8, 1), (Pool(), 0, 0)],
)
def test_a_cluster_without_room_is_refused_where_ray_would_wait(
    pool: Pool, n_cpus: float, n_gpus: float
) -> None:
    with pytest.raises(UsageError, match=rf"--engine ray: {n_cpus} CPUs and {n_gpus} GPUs in the"):
        fit_pool(pool, 2, n_cpus=n_cpus, n_gpus=n_gpus)


def test_a_run_on_ray_is_a_run_on_one_machine(
    data: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed (earwitness[ray])")
    monkeypatch.chdir(data)  # names and roots are relative
    command = ["predict", "--detector", "mine,other", "--manifest", "m.csv", "--root", "sound"]
    command += ["--windows", "all", "--keep-windows", "--num-workers", "0"]
    assert run(*command, "--out", tmp_path / "whole").code == 0
    on_ray = ["--out", tmp_path / "ray", "--engine", "ray", "--engine-option", "actors=1"]
    started = processes.start([sys.executable, "-m", "earwitness", *command, *on_ray])
    code, out, err = processes.finish(started)
    assert (code, out.splitlines()[-1]) == (
        0,
        "10 rows scored, 4 failed (see the error column)",
    ), err
    assert content(tmp_path / "ray") == content(tmp_path / "whole")


def test_an_address_of_another_service_is_refused_where_ray_would_wait() -> None:
    pytest.importorskip("ray", reason="ray is not installed (earwitness[ray])")
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.handle_request).start()
        address = f"127.0.0.1:{server.server_port}"
        with pytest.raises(UsageError) as refused, ray_cluster(address):
            pass
    assert str(refused.value) == (
        f"--ray-address {address}: found another service, expected the head of a Ray cluster"
    )


def test_the_reason_why_a_cluster_cannot_be_joined_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed (earwitness[ray])")

    def init(**_: object) -> None:
        raise ConnectionError("Failed to connect") from RuntimeError("No node info found\nat all")

    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(UsageError, match=r"^--ray-address auto: Failed to connect: No node info f"),
        ray_cluster("auto"),
    ):
        pass


def content(folder: Path) -> dict[str, bytes]:
    """Every file by path, the rows of stores sorted."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    return {
        name: b"".join(sorted(text.splitlines(keepends=True))) if "store/" in name else text
        for name, text in files.items()
    }
