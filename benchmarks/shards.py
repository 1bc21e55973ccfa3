"""Kill every shard of a run once, resume and merge; kill a machine of a Ray cluster: same bytes.

    python benchmarks/shards.py OUT --shards 64 -- --detector comb --manifest manifests
    python benchmarks/shards.py OUT --ray -- --detector comb --manifest manifests

After ``--`` come the arguments of ``earwitness predict`` without ``--out``. The first form also
leaves a shard out, and merges one with changed options, which must both be refused.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from earwitness.scoring.shards import Shard

EARWITNESS = [sys.executable, "-m", "earwitness"]


def content(run: Path) -> dict[str, bytes]:
    """Return every file of a run by path; rows of stores are sorted."""
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in (".lock", "splits.json")
    }
    stores = {name for name in files if name.startswith("store/")}
    return {n: b"".join(sorted(t.splitlines(True))) if n in stores else t for n, t in files.items()}


def n_rows(out: Path) -> int:
    """Return the number of rows in the stores of a run."""
    stores = [path.read_bytes().count(b"\n") - 1 for path in out.glob("store/*.jsonl")]
    return sum(n for n in stores if n > 0)


def predict(arguments: list[str], out: Path, *more: str) -> subprocess.Popen[str]:
    """Start a run."""
    command = [*EARWITNESS, "predict", *arguments, "--out", str(out), *more]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a run that must succeed."""
    _, err = process.communicate()
    if process.returncode:
        raise SystemExit(f"exit status {process.returncode}: {err}")


def merge(out: Path, *shards: Path) -> str:
    """Merge shards; return the error, or nothing."""
    shutil.rmtree(out, ignore_errors=True)
    command = [*EARWITNESS, "merge", str(out), *map(str, shards)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr.strip()


def kill_shards(arguments: list[str], out: Path, n: int, changed: list[str]) -> None:
    """Score every shard, killed once at its first rows, and merge; leave one out, change one."""
    n_killed = n_empty = 0
    shards = out / "shards"
    for number in range(1, n + 1):
        shard = Shard(number, n)
        more = ("--shard", str(shard))
        first = predict(arguments, shards, *more)
        while first.poll() is None and not n_rows(shards / shard.folder):
            time.sleep(0.001)
        first.kill()
        first.communicate()
        n_killed += first.returncode != 0
        n_empty += first.returncode == 0 and not n_rows(shards / shard.folder)
        finish(predict(arguments, shards, *more))
    problem = merge(out / "merged", shards)
    same = not problem and content(out / "merged") == content(out / "whole")
    print(
        f"{n} shards, {n_empty} of them empty, {n_killed} killed once: same bytes {same} {problem}"
    )
    kept = sorted(shards.iterdir())
    left_out = next(path for path in kept if n_rows(path))
    kept.remove(left_out)
    print(f"without {left_out.name}: {merge(out / 'other', *kept)}")
    shard = Shard(int(left_out.name.split("-")[1]), n)
    finish(predict(arguments, out / "changed", "--shard", str(shard), *changed))
    print(
        f"with {shlex.join(changed)}: {merge(out / 'other', *kept, out / 'changed' / shard.folder)}"
    )


def kill_machine(arguments: list[str], out: Path, after: int) -> None:
    """Score on a cluster of three machines, one of which is killed after some rows."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    memory: dict[str, Any] = {"object_store_memory": 200_000_000}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False, **memory}
    )
    machines = [cluster.add_node(num_cpus=2, **memory) for _ in range(2)]
    shutil.rmtree(out / "ray", ignore_errors=True)
    process = predict(arguments, out / "ray", "--engine", "ray", "--ray-address", cluster.address)
    while process.poll() is None and n_rows(out / "ray") < after:
        time.sleep(0.01)
    there = n_rows(out / "ray")
    cluster.remove_node(machines[0], allow_graceful=False)
    finish(process)
    same = content(out / "ray") == content(out / "whole")
    total = n_rows(out / "ray")
    print(f"3 machines, one killed after {there} of {total} rows: same bytes {same}")
    cluster.shutdown()  # type: ignore[no-untyped-call]


def main() -> None:
    own, arguments = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, arguments = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--shards", type=int, help="number of shards")
    parser.add_argument("--changed", default="--windows 2", help="options of a shard to refuse")
    parser.add_argument("--ray", action="store_true", help="kill a machine of a cluster")
    parser.add_argument("--after", type=int, default=5, help="rows after which it is killed")
    options = parser.parse_args(own)
    finish(predict(arguments, options.out / "whole"))
    if options.shards:
        kill_shards(arguments, options.out, options.shards, shlex.split(options.changed))
    if options.ray:
        kill_machine(arguments, options.out, options.after)


if __name__ == "__main__":
    main()
