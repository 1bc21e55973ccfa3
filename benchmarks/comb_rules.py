"""Rules that join the periods of a family in ``comb``, compared without generated music.

Conventions: reals are human-made tracks, whole and as processed excerpts; fakes are the same
excerpts with the output of a decoder with listed strides and random weights under them. The limit
of a rule is the lowest that at most 1 % of the tracks and of the excerpts reach.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.core.errors import AudioError
from earwitness.detectors import comb
from earwitness.training.random_decoders import SHAPES
from earwitness.training.traces import draw_excerpt, mark, read_excerpt, run_chain

DECODERS = {
    "EnCodec 24 kHz": (24_000, (8, 5, 4, 2)),
    "EnCodec 32 kHz": (32_000, (8, 5, 4, 4)),
    "25 Hz latent": (48_000, (8, 8, 5, 3, 2)),
    "12.5 Hz latent": (24_000, (8, 6, 5, 4, 2)),
    "DAC": (44_100, (8, 8, 4, 2)),
    "LAC": (44_100, (12, 8, 4, 2)),
    "Musika": (44_100, (8, 8, 4, 4, 4)),
}
"""Decoder → sample rate in Hz and published strides, or others of the same product."""

RULES: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "highest": lambda z: float(z[0]),
    "second": lambda z: float(z[1]),
    "mean of both": lambda z: float(z[:2].mean()),
}
"""Rule → strength from the z of a family's periods, highest first."""

STEADY = {"anywhere": 0.0, "in most parts": 0.85}
"""Share of the strength that the lower median over four parts of 10 s or more has to reach."""

Strengths = dict[tuple[str, str], float]


def families(samples: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Return the z of each family's periods, highest first; none of an empty spectrum."""
    residual = comb.flatten(comb.comb_spectrum_db(samples))
    if residual is None:
        return {}
    deviation = comb.deviation_of(residual)
    return {
        name: np.sort([comb.score_comb(residual, p, deviation).z for p in periods])[::-1]
        for name, periods in comb.FAMILIES.items()
    }


def strengths(samples: NDArray[np.float32]) -> Strengths:
    """Return the strength of the strongest family by each rule."""
    n_parts = int(np.clip(samples.shape[1] / (10 * comb.SAMPLE_RATE_HZ), 1, 4))
    whole = families(samples)
    parts = [families(part) for part in np.array_split(samples, n_parts, axis=1)]
    found = {}
    for (name, rule), (where, share) in product(RULES.items(), STEADY.items()):
        each = [0.0]
        for family, values in whole.items():
            held = sorted(rule(part[family]) if part else 0.0 for part in parts)
            most = held[(n_parts - 1) // 2] / share if share else np.inf
            each.append(min(rule(values), most))
        found[name, where] = max(each)
    return found


def limit_of(values: NDArray[np.float64]) -> float:
    """Return the lowest limit that at most 1 % of values reach."""
    return float(np.nextafter(np.sort(values)[-1 - int(0.01 * len(values))], np.inf))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, nargs="+", help="human-made tracks")
    parser.add_argument("--pairs", type=int, default=280)
    options = parser.parse_args()
    paths = [Path(path) for m in options.manifest for path in pl.read_csv(m)["filepath"]]
    tracks, usable = [], []
    for path in paths:
        try:
            tracks.append(strengths(read_excerpt(path, 0, comb.MAX_S)[None]))
            usable.append(path)
        except AudioError as error:
            print(f"left out: {error}")
    rng = np.random.default_rng(0)
    shapes = [name for name, shape in SHAPES.items() if not shape.one_layer]
    excerpts, fakes = [], []
    for number in range(options.pairs):
        rate_hz, strides = list(DECODERS.values())[number % len(DECODERS)]
        drawn = draw_excerpt(rng)
        plan = drawn.decoder._replace(
            sample_rate_hz=rate_hz, strides=strides, shape=str(rng.choice(shapes))
        )
        path = usable[int(rng.integers(len(usable)))]
        length_s = float(rng.choice([30.0, 60.0, 90.0]))
        pair = mark(path, drawn._replace(decoder=plan, length_s=length_s))
        real, fake = (strengths(run_chain(samples, drawn.chain)) for samples in pair)
        excerpts.append(real)
        fakes.append(fake)
    rows = []
    for rule in tracks[0]:
        sets = [np.array([each[rule] for each in some]) for some in (tracks, excerpts)]
        limit = max(limit_of(values) for values in sets)
        found = np.array([each[rule] for each in fakes]) >= limit
        names = [list(DECODERS)[number % len(DECODERS)] for number in range(len(found))]
        shares = {n: f"{found[np.array(names) == n].mean():.2f}" for n in DECODERS}
        flagged = ", ".join(f"{int((v >= limit).sum())}/{len(v)}" for v in sets)
        row = {"z of the periods": rule[0], "counts": rule[1], "limit": f"{limit:.2f}"}
        rows.append(row | {"reals": flagged, "found": f"{found.mean():.3f}"} | shares)
    pl.Config.set_tbl_formatting("ASCII_MARKDOWN")
    pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=250, tbl_hide_column_data_types=True)
    print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
