"""What each detector finds, by kind, in reals by source and after codecs: docs/results.md.

Conventions: a detector's fixed threshold decides; abstentions and errors are not flags and stay in
the denominator. AUROC is against the whole held-out reals, without abstentions and errors. Coded
excerpts and scores are kept in the cache, so the same command resumes.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy.stats import binomtest

import earwitness.detectors
from debian_music import CORPORA, find_tracks
from earwitness.audio.decode import probe_audio, read_slice
from earwitness.audio.encode import write_coded
from earwitness.core.errors import AudioError
from earwitness.core.io import atomic_write, write_text
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import AnyDetector
from earwitness.detectors.loading import open_detector
from earwitness.metrics.intervals import auroc_interval, place
from earwitness.metrics.sample import Items
from earwitness.scoring.options import ScoringOptions
from earwitness.scoring.run import score_into_run

_FMA, _REBUILT = "fma_examples", "root/deepfake-detector/fma_rebuilt_medium"
GENERATED = {
    "EnCodec 24 kHz, 3 kbit/s": f"{_FMA}/encodec3/*.mp3",
    "EnCodec 24 kHz, 6 kbit/s": f"{_FMA}/encodec6/*.mp3",
    "EnCodec 24 kHz, 24 kbit/s": f"{_FMA}/encodec24/*.mp3",
    "LAC, 2 codebooks": f"{_FMA}/lac2/*.mp3",
    "LAC, 7 codebooks": f"{_FMA}/lac7/*.mp3",
    "LAC, 14 codebooks": f"{_FMA}/lac14/*.mp3",
    "Musika": f"{_FMA}/musika/*.mp3",
    "Griffin-Lim, 256 mel": f"{_FMA}/griffin256/*.mp3",
    "Griffin-Lim, 512 mel": f"{_FMA}/griffin512/*.mp3",
    "Griffin-Lim, 256 mel, of games' music": f"{_REBUILT}/griffin256/*/*.mp3",
    "Griffin-Lim, 512 mel, of games' music": f"{_REBUILT}/griffin512/*/*.mp3",
    "Lyra, 3.2 kbit/s": f"{_REBUILT}/lyra3/*/*.mp3",
    "Lyra, 9.2 kbit/s": f"{_REBUILT}/lyra9/*/*.mp3",
    "ACE-Step, songs": "root/SONICS/fake_songs/*.mp3",
    "ACE-Step, 10 s at 16 kHz": "root/FakeMusicCaps/ace_step/*.wav",
    "Udio": "songs/udio/*.mp3",
    "YuE": "songs/yue/*.mp3",
}
OTHER_REALS = {
    "FMA, 30 s": f"{_FMA}/real/*.mp3",
    "games' music, 20 s": "root/deepfake-detector/fma_real_medium/resampled/*/*.mp3",
    "SONICS layout, 20 s": "root/SONICS/real_songs/*",
}
CODECS = {
    "MP3 64": (".mp3", "libmp3lame", 64),
    "MP3 128": (".mp3", "libmp3lame", 128),
    "AAC 64": (".m4a", "aac", 64),
    "AAC 128": (".m4a", "aac", 128),
    "Opus 32": (".opus", "libopus", 32),
    "Opus 96": (".opus", "libopus", 96),
}
LOFCZ_CODECS = ("MP3 128", "AAC 128")
"""The lofcz detectors take several seconds a file."""
LOFCZ = {"lofcz-lr": "weights.npz", "lofcz-cnn": "cnn_detector.onnx"}
FAMILIES = (("comb", "box"), tuple(LOFCZ))
EXCERPT_S = 60
MOST_REALS = 0.02
"""Share of reals flagged from which it is said first."""


class Row(NamedTuple):
    """A detector on the files of a kind; ``share`` and ``area`` are value, low and high."""

    kind: str
    n: int
    n_flagged: int
    n_abstained: int
    n_failed: int
    share: tuple[float, float, float]
    area: tuple[float, float, float] | None
    named: str


Results = Mapping[str, Mapping[str, list[Row]]]
"""Detector → section → rows."""


def list_clean(shared: Path, folders: Sequence[Path]) -> pl.DataFrame:
    """Return ``filepath``, ``target``, ``kind`` and ``section`` of the files as they are."""
    rows = [
        (str(path), target, kind, section)
        for section, target, kinds in (("generated", 1, GENERATED), ("others", 0, OTHER_REALS))
        for kind, pattern in kinds.items()
        for path in sorted(shared.glob(pattern))
    ]
    for folder in folders:
        rows += [(str(path), 0, folder.name, "reals") for path in find_tracks(folder, set())]
    columns = ("filepath", "target", "kind", "section")
    return pl.DataFrame(rows, columns, orient="row")


def list_coded(reals: pl.DataFrame, codec: str, cache: Path) -> pl.DataFrame:
    """Return the manifest of the middle of each file after a codec; missing ones are made."""
    suffix = CODECS[codec][0]
    folder = cache / "coded" / codec.replace(" ", "-")
    names = [hashlib.sha256(path.encode()).hexdigest()[:16] for path in reals["filepath"]]
    outs = [folder / f"{name}{suffix}" for name in names]
    jobs = [(Path(s), out) for s, out in zip(reals["filepath"], outs, strict=True)]
    missing = [job for job in jobs if not job[1].exists()]
    if missing:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            for _ in pool.imap_unordered(partial(code, codec), missing):
                pass
    coded = pl.Series("filepath", [str(out) for out in outs])
    return reals.with_columns(coded, kind=pl.lit(f"{codec} kbit/s"), section=pl.lit("coded"))


def code(codec: str, job: tuple[Path, Path]) -> None:
    """Write the coded middle of a file; of a damaged one nothing, so that its row has an error."""
    (source, out), (suffix, encoder, kbps) = job, CODECS[codec]
    try:
        info = probe_audio(source)
        n_samples = min(info.n_samples, EXCERPT_S * info.sample_rate_hz)
        samples = read_slice(source, (info.n_samples - n_samples) // 2, n_samples)[:2]
    except AudioError as error:
        print(f"{source}: {error.reason}")
        return
    with atomic_write(out) as temporary, temporary.open("wb") as file:
        write_coded(file, samples, info.sample_rate_hz, codec=encoder, kbps=kbps, suffix=suffix)


def score(frame: pl.DataFrame, detectors: Sequence[AnyDetector], cache: Path) -> pl.DataFrame:
    """Return the predictions of detectors of one family, in a folder of this code and weights."""
    code_of = Path(earwitness.detectors.__path__[0])
    prefixes = ("lofcz",) if detectors[0].card.name in LOFCZ else ("comb", "box")
    digest = hashlib.sha256()
    for path in sorted(code_of.glob("*.py")):
        digest.update(path.read_bytes() if path.stem.startswith(prefixes) else b"")
    for detector in detectors:
        digest.update(detector.card.model_dump_json().encode())
    out = cache / f"{prefixes[0]}-{digest.hexdigest()[:12]}"
    manifests = [
        Manifest(hashlib.sha256(str(part["filepath"].to_list()).encode()).hexdigest()[:12], part)
        for part in frame.partition_by("section", "kind", maintain_order=True)
    ]
    found = score_into_run(manifests, detectors, out, options=ScoringOptions(num_workers=1))
    return pl.concat([each.frame for each in found.values()], how="diagonal_relaxed")


def summarize(found: pl.DataFrame) -> dict[str, list[Row]]:
    """Return the rows of one detector by section."""
    reals = found.filter(section="reals")
    together = reals.with_columns(kind=pl.lit("*all of these*"))
    found = pl.concat([found, together])
    sections: dict[str, list[Row]] = {}
    for (section, kind), part in found.group_by("section", "kind", maintain_order=True):
        area = rank_against(reals, part) if section == "generated" else None
        sections.setdefault(str(section), []).append(describe(str(kind), part, area))
    return sections


def describe(kind: str, part: pl.DataFrame, area: tuple[float, float, float] | None) -> Row:
    """Return the row of the files of a kind."""
    flagged = (part["pred_label"] == 1).fill_null(value=False)
    n, n_flagged = part.height, int(flagged.sum())
    low, high = binomtest(n_flagged, n).proportion_ci(method="wilson")
    named = Counter[str]()
    if "decoder_guess" in part.columns:
        named.update(part.filter(flagged)["decoder_guess"].drop_nulls().to_list())
    return Row(
        *(kind, n, n_flagged),
        int(part["abstained"].is_not_null().sum()),
        int(part["error"].is_not_null().sum()),
        (n_flagged / n, float(low), float(high)),
        area,
        "; ".join(f"{count} {name}" for name, count in named.most_common()),
    )


def rank_against(reals: pl.DataFrame, fakes: pl.DataFrame) -> tuple[float, float, float] | None:
    """Return the AUROC with its interval, NaN without one; ``None`` if a class has no score."""
    scores = [part["logit"].drop_nulls().to_numpy() for part in (reals, fakes)]
    if not all(map(len, scores)):
        return None
    target = np.repeat([0, 1], [len(part) for part in scores])
    items = Items(target, np.arange(len(target)), score=np.concatenate(scores))
    interval = auroc_interval(items)
    return place(items).mean, interval.low, interval.high


def write_page(results: Results, missing: Sequence[str]) -> str:
    """Return the page."""
    lines = ["# What the detectors find, and what they do not", "", "## Not found"]
    lines += [f"- {sentence}" for sentence in (*say_missed(results), *say_flagged(results))]
    lines += [f"- Not run: {name}." for name in missing]
    n_reals = _all_reals(next(iter(results.values()))).n
    lines += [
        *("", "## How to read the tables"),
        "Each detector decides at its own fixed threshold. Shares are of all files of a kind, with "
        "Wilson's 95 % interval; abstentions and files that could not be read are not flags.",
        f"AUROC is against the {n_reals} whole held-out tracks, without abstentions; its 95 % "
        "interval needs 10 files of each class. Generated files are shorter than these tracks and "
        "coded otherwise, which a score that depends on length (lofcz-lr) shows in its AUROC.",
        "",
        f"Coded reals are the middle {EXCERPT_S} s of these tracks. Excerpts of 20 s of games' "
        "music and in the SONICS layout are of several packages, the held-out ones among them.",
    ]
    for name, sections in results.items():
        lines += ["", f"## {name}", *_table(sections["generated"], "generated or reconstructed")]
        lines += ["", *_table(sections["reals"], "real, held out, whole")]
        lines += ["", *_table(sections.get("others", []), "real, other sources")]
        lines += ["", *_table(sections.get("coded", []), "real, held out, after")]
    packages = ",".join(sorted(CORPORA["reported"]))
    lines += [
        *("", "## Command"),
        *(
            "```",
            "python benchmarks/results.py --shared AUDIO --lofcz WEIGHTS --out docs/results.md \\",
        ),
        *(f"    --reals DEBIAN/{{{packages}}}", "```"),
        "prints this page. `AUDIO` holds the generated files, `WEIGHTS` the files "
        f"{' and '.join(LOFCZ.values())}, `DEBIAN` what `dpkg -x` extracted ([box](box.md)).",
    ]
    return "\n".join(lines) + "\n"


def say_missed(results: Results) -> list[str]:
    """Return sentences on the kinds that every detector mostly misses, or all but one."""
    kinds = [row.kind for row in next(iter(results.values()))["generated"]]
    sentences = []
    for kind in kinds:
        rows = {name: _row(sections["generated"], kind) for name, sections in results.items()}
        best = max(rows, key=lambda name: rows[name].n_flagged)
        top = rows[best]
        others = [name for name in rows if name != best and rows[name].share[0] >= 0.5]
        reach = f"95 % interval up to {top.share[2]:.2f}"
        if top.n_flagged == 0:
            sentences.append(f"**{kind}**: no detector flags any of {top.n} files ({reach}).")
        elif top.share[0] < 0.5:
            sentences.append(
                f"**{kind}**: no detector flags half of the {top.n} files; {best} flags the most, "
                f"{top.n_flagged} ({reach})."
            )
        elif not others:
            sentences.append(
                f"**{kind}**: only {best} flags half of the {top.n} files or more "
                f"({top.n_flagged})."
            )
    return sentences


def say_flagged(results: Results) -> list[str]:
    """Return sentences on the reals of which more are flagged than ``MOST_REALS``."""
    sentences = []
    for name, sections in results.items():
        rows = [_all_reals(sections), *sections.get("others", []), *sections.get("coded", [])]
        high = [row for row in rows if row.share[0] > MOST_REALS]
        if high:
            listed = "; ".join(
                f"{_plain(row)} {row.n_flagged} of {row.n}: {_interval(row.share)}" for row in high
            )
            sentences.append(f"**{name} flags over {MOST_REALS:.0%} of reals**: {listed}.")
    return sentences


def _plain(row: Row) -> str:
    return "held-out tracks" if row.kind.startswith("*") else row.kind


def _all_reals(sections: Mapping[str, list[Row]]) -> Row:
    return sections["reals"][-1]


def _row(rows: Sequence[Row], kind: str) -> Row:
    return next(row for row in rows if row.kind == kind)


def _interval(value: tuple[float, float, float]) -> str:
    point, low, high = value
    return f"{point:.3f}" if np.isnan(low) else f"{point:.3f} [{low:.3f}, {high:.3f}]"


def _table(rows: Sequence[Row], heading: str) -> list[str]:
    """Return a Markdown table; columns that no row fills are left out."""
    columns = {
        heading: [row.kind for row in rows],
        "files": [str(row.n) for row in rows],
        "flagged": [str(row.n_flagged) for row in rows],
        "share": [_interval(row.share) for row in rows],
        "AUROC": [_interval(row.area) if row.area else "" for row in rows],
        "abstained": [str(row.n_abstained) for row in rows],
        "failed": [str(row.n_failed) if row.n_failed else "" for row in rows],
        "named": [row.named for row in rows],
    }
    filled = {name: cells for name, cells in columns.items() if any(cells)}
    lines = [list(filled), ["---"] * len(filled), *map(list, zip(*filled.values(), strict=True))]
    return [f"| {' | '.join(cells)} |" for cells in lines] if rows else []


def waiting_for(results: Results, weights: Mapping[str, Path]) -> list[str]:
    """Return the detectors that are to be scored and have no results yet."""
    names = [name for family in FAMILIES for name in family if name not in LOFCZ or name in weights]
    return [name for name in names if name not in results]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, required=True, help="folder of generated audio")
    parser.add_argument("--reals", type=Path, nargs="+", required=True, help="Debian packages")
    parser.add_argument("--lofcz", type=Path, help="folder of the lofcz weights")
    parser.add_argument("--cache", type=Path, default=Path("results-cache"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    clean = list_clean(options.shared, options.reals)
    reals = clean.filter(section="reals")
    if reals.is_empty() or clean.filter(section="generated").is_empty():
        parser.error("found no tracks in --reals or no generated audio in --shared")
    weights = {name: options.lofcz / file for name, file in LOFCZ.items()} if options.lofcz else {}
    results: dict[str, dict[str, list[Row]]] = {}
    missing = []
    for family in FAMILIES:
        codecs = LOFCZ_CODECS if family == tuple(LOFCZ) else tuple(CODECS)
        if family == tuple(LOFCZ):
            left_out = ", ".join(codec for codec in CODECS if codec not in codecs)
            missing.append(
                f"{' and '.join(family)} on reals after {left_out} kbit/s"
                if weights
                else f"{' and '.join(family)}, whose weights were not given"
            )
            if not weights:
                continue
        frame = pl.concat([clean, *(list_coded(reals, c, options.cache) for c in codecs)])
        opened = [open_detector(name, weights=weights) for name in family]
        found = score(frame, opened, options.cache / "runs")
        for name in family:
            results[name] = summarize(found.filter(detector=name))
        waiting = [f"{name}, which is not scored yet" for name in waiting_for(results, weights)]
        write_text(options.out, write_page(results, [*missing, *waiting]))
        print(f"{options.out}: {', '.join(results)}", flush=True)


if __name__ == "__main__":
    main()
