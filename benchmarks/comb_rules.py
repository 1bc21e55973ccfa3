"""Rules that join the periods of a family in ``comb``, compared without generated music.

Conventions: reals are processed excerpts of human-made tracks; fakes are the same excerpts with the
output of a decoder with listed strides and random weights under them. The limit of a rule is where
the exponential tail of its reals above their 0.9 quantile reaches 1 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from earwitness.detectors import comb
from earwitness.training.random_decoders import SHAPES
from earwitness.training.traces import Spectrum, draw_excerpt, make_pair

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
    "root of the sum of squares": lambda z: float(np.sqrt((np.maximum(z, 0) ** 2).sum())),
    "sum over root of number": lambda z: float(z.sum() / np.sqrt(len(z))),
}
"""Rule → strength from the z of a family's periods, highest first."""


def strengths(spectrum: Spectrum) -> dict[str, float]:
    """Return the strength of the strongest family by each rule; 0 of an empty spectrum."""
    residual = comb.flatten(spectrum.spectrum_db)
    if residual is None:
        return dict.fromkeys(RULES, 0.0)
    inside = residual[round(comb.BAND_HZ[0] * comb.N_FFT / comb.SAMPLE_RATE_HZ) :]
    deviation = 1.4826 * float(np.median(np.abs(inside - np.median(inside))))
    families = [
        np.sort([comb.score_comb(residual, p, deviation).z for p in periods])[::-1]
        for periods in comb.FAMILIES.values()
    ]
    return {name: max(map(rule, families)) for name, rule in RULES.items()}


def limit_of(values: NDArray[np.float64]) -> float:
    """Return the limit that 1 % of reals reach by the exponential tail."""
    start = float(np.quantile(values, 0.9))
    return start + float((values[values > start] - start).mean()) * float(np.log(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, help="human-made tracks")
    parser.add_argument("--pairs", type=int, default=140)
    options = parser.parse_args()
    paths = pl.read_csv(options.manifest)["filepath"].to_list()
    rng = np.random.default_rng(0)
    shapes = [name for name, shape in SHAPES.items() if not shape.one_layer]
    reals, fakes, names = [], [], []
    for number in range(options.pairs):
        name = list(DECODERS)[number % len(DECODERS)]
        rate_hz, strides = DECODERS[name]
        drawn = draw_excerpt(rng)
        plan = drawn.decoder._replace(
            sample_rate_hz=rate_hz, strides=strides, shape=str(rng.choice(shapes))
        )
        path = Path(paths[int(rng.integers(len(paths)))])
        real, fake = make_pair(path, drawn._replace(decoder=plan))
        reals.append(strengths(real))
        fakes.append(strengths(fake))
        names.append(name)
    rows = []
    for rule in RULES:
        of_reals = np.array([each[rule] for each in reals])
        found = np.array([each[rule] for each in fakes]) >= (limit := limit_of(of_reals))
        shares = {n: f"{found[np.array(names) == n].mean():.2f}" for n in DECODERS}
        flagged = f"{int((of_reals >= limit).sum())}/{len(reals)}"
        rows.append(
            {"rule": rule, "limit": f"{limit:.2f}", "reals": flagged}
            | {"found": f"{found.mean():.3f}"}
            | shares
        )
    pl.Config.set_tbl_formatting("ASCII_MARKDOWN")
    pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=250, tbl_hide_column_data_types=True)
    print(pl.DataFrame(rows))


if __name__ == "__main__":
    main()
