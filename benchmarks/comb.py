"""Shares of files that a detector flags, by kind and after codecs: the tables of docs/comb.md.

Conventions: manifests have the columns ``filepath``, ``target`` and ``kind``. Abstentions are not
flags and stay in the denominator. Codecs are applied to the middle of each file.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

import polars as pl
from scipy.stats import binomtest

from earwitness.audio.decode import probe_audio, read_slice
from earwitness.core.manifest import Manifest
from earwitness.scoring.predict import predict

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
CODECS = {
    "MP3 64": (".mp3", "libmp3lame", 64),
    "MP3 128": (".mp3", "libmp3lame", 128),
    "AAC 64": (".m4a", "aac", 64),
    "AAC 128": (".m4a", "aac", 128),
    "Opus 32": (".opus", "libopus", 32),
    "Opus 96": (".opus", "libopus", 96),
}


def shares(frame: pl.DataFrame, detector: str) -> pl.DataFrame:
    """Return a row per kind: files, share flagged with Wilson interval, abstentions, guesses."""
    (found,) = predict(Manifest("m", frame), [detector])
    rows = []
    for (kind,), part in found.frame.group_by("kind", maintain_order=True):
        flagged = (part["pred_label"] == 1).fill_null(value=False)
        n_flagged = int(flagged.sum())
        low, high = binomtest(n_flagged, part.height).proportion_ci(method="wilson")
        guesses = Counter(part.filter(flagged)["decoder_guess"].to_list())
        rows.append(
            {
                "kind": kind,
                "n": part.height,
                "flagged": n_flagged,
                "share": f"{n_flagged / part.height:.3f} [{low:.3f}, {high:.3f}]",
                "abstained": int(part["abstained"].is_not_null().sum()),
                "guesses": "; ".join(f"{n} {guess}" for guess, n in guesses.most_common()),
            }
        )
    return pl.DataFrame(rows)


def coded(frame: pl.DataFrame, folder: Path, codec: str, seconds: float) -> pl.DataFrame:
    """Return the manifest of files coded from the middle of others."""
    from earwitness.audio.encode import write_coded

    suffix, encoder, kbps = CODECS[codec]
    paths = []
    for number, path in enumerate(frame["filepath"]):
        info = probe_audio(path)
        n_samples = min(info.n_samples, int(seconds * info.sample_rate_hz))
        samples = read_slice(path, (info.n_samples - n_samples) // 2, n_samples)[:2]
        out = folder / f"{number}{suffix}"
        write_coded(out, samples, info.sample_rate_hz, codec=encoder, kbps=kbps)
        paths.append(str(out))
    return frame.with_columns(pl.Series("filepath", paths))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="+", type=Path)
    parser.add_argument("--detector", default="comb")
    parser.add_argument("--seconds", type=float, default=0, help="of each file, after each codec")
    options = parser.parse_args()
    columns = ("filepath", "target", "kind")
    frame = pl.concat([pl.read_csv(path).select(columns) for path in options.manifest])
    pl.Config.set_tbl_formatting("ASCII_MARKDOWN")
    pl.Config(
        tbl_rows=-1, fmt_str_lengths=200, tbl_width_chars=250, tbl_hide_column_data_types=True
    )
    print(shares(frame, options.detector))
    for codec in CODECS if options.seconds else ():
        with tempfile.TemporaryDirectory() as folder:
            found = shares(coded(frame, Path(folder), codec, options.seconds), options.detector)
        print(f"after {codec} kbit/s, {options.seconds:g} s each", found, sep="\n")


if __name__ == "__main__":
    main()
