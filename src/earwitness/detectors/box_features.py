"""Features of ``box``: how a residual spectrum looks when it is folded by each of many periods.

Conventions: periods are those of up-sampling layers of any decoder at a standard rate: a rate over
a number without prime factors above 7. Features are a row per period; a period with too few teeth
has ``nan`` rows.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earwitness.detectors.comb import BAND_HZ, N_FFT, SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PERIODS_HZ = (12.0, 6_000.0)
RATES_HZ = (44_100, 96_000)
"""Rates whose divisors are searched: 22.05 kHz divides the first, 16, 24, 32, 48 kHz the second."""
FEATURES = (
    *("z", "half", "third", "other", "band_1", "band_2", "band_3", "band_4"),
    *("above", "sharp", "teeth", "period", "multiple", "divisor", "file", "spread"),
)
_BANDS_HZ = (1_000.0, 2_500.0, 5_000.0, 9_000.0, 16_000.0)
_BIN_HZ = SAMPLE_RATE_HZ / N_FFT
_MIN_TEETH = 4
_MAX_OFFSETS = 24
_LIMIT = 15.0


@cache
def periods_hz() -> NDArray[np.float64]:
    """Return all periods, rising."""
    found = {
        round(rate / divisor, 6)
        for rate in RATES_HZ
        for divisor in _smooth_numbers(int(rate / PERIODS_HZ[0]))
        if PERIODS_HZ[0] <= rate / divisor <= PERIODS_HZ[1]
    }
    return np.array(sorted(found))


def _smooth_numbers(highest: int) -> list[int]:
    """Return the numbers up to ``highest`` without prime factors above 7."""
    numbers = [1]
    for prime in (2, 3, 5, 7):
        powers = [prime**n for n in range(20)]
        numbers = [n * power for n in numbers for power in powers if n * power <= highest]
    return numbers


class _Grid(NamedTuple):
    """Bins of all folds.

    Attributes:
        folds: Offsets of all periods × bins, 1 at the bins of an offset.
        teeth: Periods and bands × bins, 1 at the bins of teeth.
        first: Row of each period's first offset (its teeth) in ``folds``.
        n_offsets: Offsets of each period.
        related: Pairs of periods of which the first is a multiple of the second.
    """

    folds: csr_matrix
    teeth: csr_matrix
    first: NDArray[np.intp]
    n_offsets: NDArray[np.intp]
    related: tuple[NDArray[np.intp], ...]


@cache
def _grid() -> _Grid:
    periods = periods_hz()
    n_bins = round(BAND_HZ[1] / _BIN_HZ)
    edges = np.array(_BANDS_HZ) / _BIN_HZ
    n_offsets = np.clip(periods / _BIN_HZ, 8, _MAX_OFFSETS).astype(int) // 2 * 2
    folds, teeth = [], []
    for period, n in zip(periods, n_offsets, strict=True):
        k = np.arange(np.ceil(BAND_HZ[0] / period), np.floor(BAND_HZ[1] / period))
        bins = np.rint((k + np.arange(n)[:, None] / n) * period / _BIN_HZ).astype(np.int32)
        folds += list(bins)
        teeth += np.split(bins[0], np.searchsorted(bins[0], edges[1:-1]))
    ratio = periods[:, None] / periods
    is_multiple = (np.abs(ratio - np.rint(ratio)) < 1e-6 * ratio) & (ratio > 1.5) & (ratio < 16.5)
    return _Grid(
        _rows(folds, n_bins),
        _rows(teeth, n_bins),
        np.append(0, np.cumsum(n_offsets)[:-1]),
        n_offsets,
        np.nonzero(is_multiple),
    )


def _rows(bins: list[NDArray[np.int32]], n_bins: int) -> csr_matrix:
    from scipy.sparse import csr_matrix

    ends = np.append(0, np.cumsum([len(each) for each in bins]))
    indices = np.minimum(np.concatenate(bins), n_bins - 1)
    ones = np.ones(len(indices), dtype=np.float32)
    return csr_matrix((ones, indices, ends), shape=(len(bins), n_bins))


@lru_cache(maxsize=32)
def _counts(n_used: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the number of bins of each row of both matrices below ``n_used``."""
    grid = _grid()
    inside = (np.arange(grid.folds.shape[1]) < n_used).astype(np.float32)
    return grid.folds @ inside, grid.teeth @ inside


def fold(residual: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features ``(n_periods, n_features)`` of a residual spectrum of ``comb.flatten``."""
    grid, periods = _grid(), periods_hz()
    n_used = min(len(residual), grid.folds.shape[1])
    padded = np.zeros(grid.folds.shape[1], dtype=np.float32)
    inside = residual[round(BAND_HZ[0] / _BIN_HZ) : n_used]
    level = float(np.median(inside))
    deviation = 1.4826 * float(np.median(np.abs(inside - level))) + 1e-3
    padded[:n_used] = residual[:n_used] - level
    n_folds, n_teeth_in_bands = _counts(n_used)
    means = (grid.folds @ padded) / np.maximum(n_folds, 1)
    n_teeth = n_folds[grid.first]
    profiles = np.full((len(periods), _MAX_OFFSETS), np.nan, dtype=np.float32)
    column = np.arange(len(means)) - np.repeat(grid.first, grid.n_offsets)
    profiles[np.repeat(np.arange(len(periods)), grid.n_offsets), column] = means
    rows = np.arange(len(periods))
    others = np.sort(profiles[:, 1:], axis=1)  # an odd number, and after them NaN
    middle, last = (grid.n_offsets - 2) // 2, grid.n_offsets - 2
    centre, highest = others[rows, middle], others[rows, last]
    spread = 1.4826 * np.sort(np.abs(others - centre[:, None]), axis=1)[rows, middle]
    noise = deviation / np.sqrt(np.maximum(n_teeth, 1))
    scale = np.maximum(spread, noise)
    profile_z = (profiles - centre[:, None]) / scale[:, None]
    z = profile_z[:, 0]
    at_third = np.rint(grid.n_offsets / 3).astype(int)
    in_bands = np.stack(
        [
            (grid.teeth @ padded).reshape(-1, 4),
            (grid.teeth @ (padded > 0).astype(np.float32)).reshape(-1, 4),
            (grid.teeth @ ((np.roll(padded, 3) + np.roll(padded, -3)) / 2)).reshape(-1, 4),
        ]
    )
    n_bands = n_teeth_in_bands.reshape(-1, 4)
    total = np.maximum(n_bands.sum(axis=1), 1)
    bands = (in_bands[0] - n_bands * centre[:, None]) / np.sqrt(np.maximum(n_bands, 1)) / deviation
    above = in_bands[1].sum(axis=1) / total
    sharp = (in_bands[0] - in_bands[2]).sum(axis=1) / total / noise
    features = np.stack(
        [
            z,
            profile_z[rows, grid.n_offsets // 2],
            np.maximum(profile_z[rows, at_third], profile_z[rows, grid.n_offsets - at_third]),
            (highest - centre) / scale,
            *bands.T,
            (above - 0.5) * 2 * np.sqrt(total),
            sharp,
            np.log2(total),
            np.log2(periods / 100),
            *_related(z, grid),
            np.full(len(z), np.quantile(z, 0.95)),
            spread / noise,
        ],
        axis=1,
    )
    limited: NDArray[np.float32] = np.clip(features, -_LIMIT, _LIMIT).astype(np.float32)
    limited[n_teeth < _MIN_TEETH] = np.nan
    return limited


def _related(z: NDArray[np.floating], grid: _Grid) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the highest z of each period's multiples, and of its divisors."""
    multiples, divisors = np.zeros_like(z), np.zeros_like(z)
    higher, lower = grid.related
    np.maximum.at(multiples, lower, z[higher])
    np.maximum.at(divisors, higher, z[lower])
    return multiples, divisors
