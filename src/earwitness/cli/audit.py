"""``earwitness audit``."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from earwitness.cli import console
from earwitness.cli.engines import (
    SHARDING,
    Engine,
    command_of_shards,
    print_shard,
    with_engine_options,
)
from earwitness.cli.options import (
    Root,
    comma_list,
    open_manifests,
    option,
    parse_bytes,
    predict_option,
    remark_on_manifests,
    switch,
    weights_by_name,
)
from earwitness.core.errors import UsageError


@with_engine_options
def audit(
    *,
    manifest: Annotated[
        list[str] | None,
        option("FILES", "Manifests to audit, or a folder of them (comma-separated)."),
    ] = None,
    against: Annotated[
        list[str] | None,
        option("FILES", "Manifests that must not overlap with these, such as a training set."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        option(
            "NAMES",
            "Detectors whose training data is checked, as stated on their cards "
            "(comma-separated); weights are not needed.",
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        option("NAME=PATH", "Path of weights, if a detector's card is stored with them."),
    ] = None,
    out: Annotated[Path, option("DIR", "Output folder of audit.json and findings.csv.")] = Path(
        "audit"
    ),
    fix: Annotated[
        Path | None,
        option(
            "FILE",
            "Write the audited manifest (exactly one) without conflicting rows; the dropped "
            "rows and reasons are written to <name>_dropped.csv in the same folder.",
        ),
    ] = None,
    root: Root = None,
    strict: Annotated[
        bool, switch("--strict", "Exit with status 1 if there are findings.")
    ] = False,
    memory: Annotated[
        str,
        option(
            "SIZE",
            "Memory to plan with for fingerprints and their search, such as 16GB; beyond it "
            "temporary files are used, with the same result.",
        ),
    ] = "4GB",
    num_workers: Annotated[int | None, predict_option("num_workers")] = None,
    run_on: Engine,
) -> None:
    """Check manifests for leakage and shortcuts.

    Checks overlap within and between manifests by path, bytes, packets, samples, fingerprint and
    group; overlap with the training and selection data of detectors; unreadable files; and
    properties other than the music that separate the classes. A check passes, has findings, or
    gives the reason why it was not run.

    Shards only read files; the same command without them checks what all of them have read.
    """
    from earwitness.audit.audit import audit_into, extract_shard, find_cards, write_fixed
    from earwitness.audit.tables import audit_table
    from earwitness.scoring.file_shards import SHARDS_FOLDER

    run_on.check(out, sharding=SHARDING)
    shard = run_on.choose_shard(out / SHARDS_FOLDER)
    n_bytes = parse_bytes("--memory", memory)
    audited = open_manifests(manifest, root)
    others = open_manifests(against, root) if against else []
    if fix is not None and len(audited) != 1:
        raise UsageError(f"--fix {fix}: {len(audited)} manifests, expected exactly one")
    detectors = comma_list(detector)
    paths = weights_by_name(weights, detectors)
    find_cards(detectors, weights=paths)
    if run_on.start_shards(out):
        return
    remark_on_manifests([*audited, *others])
    with ExitStack() as stack:
        more: dict[str, Any] = {
            "against": others,
            "memory": n_bytes,
            "n_workers": num_workers,
            "on_start": lambda n: stack.enter_context(console.progress_bar("reading audio", n)),
        }
        if shard is not None:
            command = command_of_shards(sys.argv[1:])
            done = extract_shard(audited, out, shard, command=command, **more)
            print_shard(shard, done.n_done, done.n_failed)
            return
        report = audit_into(audited, out, detectors=detectors, weights=paths, **more)
    console.out.print(audit_table(report))
    if fix is not None:
        n_dropped, dropped = write_fixed(report, audited[0], fix)
        n_kept = console.thousands(len(audited[0]) - n_dropped)
        n_gone = console.thousands(n_dropped)
        console.echo(f"rows kept: {n_kept} in {fix}; dropped: {n_gone}, see {dropped}")
    n_open = sum(check.verdict == "not checked" for check in report.checks)
    n_passed = len(report.checks) - report.n_findings - n_open
    console.echo(
        f"\nchecks with findings: {report.n_findings}, passed: {n_passed}, not run: {n_open}; "
        f"written to {out}"
    )
    if strict and report.n_findings:
        raise typer.Exit(1)
