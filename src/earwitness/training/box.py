"""Training the box detector from real music alone.

Conventions: decoders with random weights give the fakes; sources of the threshold corpus are never
trained on. The result follows from seed and files, not from their order.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earwitness.core.errors import ManifestError, UsageError
from earwitness.core.manifest import Manifest
from earwitness.detectors.box import (
    N_HIDDEN,
    BoxDetector,
    Networks,
    box_card,
    codec_periods,
    save_box,
    strength,
)
from earwitness.detectors.box_features import fold
from earwitness.detectors.comb import flatten
from earwitness.training.box_examples import (
    Spectra,
    Track,
    list_tracks,
    make_examples,
    make_pairs,
    make_real,
)
from earwitness.training.fakeprint import hash_items

N_PAIRS, N_CHAINS = 6, 3
MIN_TRACKS = 8
MAX_FPR = 0.01
_TAIL_FPR = 0.005
_TAIL_QUANTILE = 0.9
_EPOCHS, _BATCH, _LEARNING_RATE, _WEIGHT_DECAY = 25, 64, 3e-3, 0.1
_REAL_WEIGHT = 3.0
"""Weight of reals in the loss: false positives cost more than misses."""
_EXCLUDED = -30.0


class Corpus(NamedTuple):
    """Features of spectra.

    Attributes:
        features: ``(n, n_periods, n_features)``.
        excluded: ``(n, n_periods)``, periods with too few teeth or of the file's codec.
        marked: ``(n,)``, 1 with the trace of a decoder.
        processed: ``(n,)``, whether they are excerpts that were processed, not whole files.
    """

    features: NDArray[np.float32]
    excluded: NDArray[np.bool_]
    marked: NDArray[np.float32]
    processed: NDArray[np.bool_]


@dataclass(frozen=True)
class TrainedBox:
    """A trained box.

    Attributes:
        detector: The detector.
        n_real: Spectra without a trace that it was trained on.
        n_marked: Spectra with one.
        n_threshold: Tracks that the limit was chosen on.
        false_positives: How many of these are flagged as whole files.
        recall: Share of the marked training spectra at or above the limit.
        failures: Files that were left out, with the reason.
    """

    detector: BoxDetector
    n_real: int
    n_marked: int
    n_threshold: int
    false_positives: int
    recall: float
    failures: tuple[tuple[str, str], ...]


def train_box(
    manifests: list[Manifest],
    out: Path,
    *,
    valid: list[Manifest] | None = None,
    valid_share: float = 0.4,
    n_pairs: int = N_PAIRS,
    n_chains: int = N_CHAINS,
    n_networks: int = 4,
    seed: int = 0,
    advance: Callable[[bool], None] | None = None,
) -> TrainedBox:
    """Train a box on real music and write it to ``out``; an interrupted training resumes.

    Args:
        manifests: Real music of several sources (``source_dataset``, else the folder's name).
        out: Folder for ``weights.safetensors`` and ``card.json``; its name is the detector's.
        valid: Real music to choose the limit on; by default some of the sources.
        valid_share: Share of the tracks that these sources have at least.
        n_pairs: Excerpts per track, each with and without the trace of a decoder.
        n_chains: Processed excerpts per track of the threshold corpus.
        n_networks: Networks whose strengths are averaged.
        seed: Random seed.
        advance: Called after every example with whether its file could be read.

    Raises:
        UsageError: ``out`` already contains a detector.
        ManifestError: Fakes among the items, too few tracks, or one source without ``valid``.
    """
    if (out / "card.json").exists():
        raise UsageError(f"{out}: contains a detector already, expected a new folder")
    train, held = split_tracks(manifests, valid or [], valid_share, seed)
    failures: dict[str, str] = {}
    folder = out / "examples"

    def collect(
        name: str, tracks: Sequence[Track], make: Callable[[Track, int, int], Spectra], n: int
    ) -> Corpus:
        made = []
        for track, spectra in make_examples(
            tracks, make, n_rounds=n + 1, seed=seed, folder=folder / name, advance=advance
        ):
            if isinstance(spectra, str):
                failures[str(track.path)] = spectra.removeprefix(f"{track.path}: ")
            else:
                made.append(spectra)
        return to_corpus(made, name)

    ours = collect(f"train-{seed}", train, make_pairs, n_pairs)
    theirs = collect(f"threshold-{seed}", held, make_real, n_chains)
    networks = fit_networks(ours, n_networks=n_networks, seed=seed)
    limit, tail = choose_limit(theirs, strengths(networks, theirs))
    networks = networks._replace(limit=limit, tail=tail)
    is_whole = ~theirs.processed
    flagged = strengths(networks, theirs) >= limit
    trained, selected = (
        [track for track in tracks if str(track.path) not in failures] for tracks in (train, held)
    )
    details = {
        "limit": round(limit, 4),
        "tail": round(tail, 4),
        "seed": seed,
        "n_pairs": n_pairs,
        "n_networks": n_networks,
        "n_training_tracks": len(trained),
        "n_threshold_tracks": len(selected),
        "threshold_false_positives": int(flagged[is_whole].sum()),
        "n_threshold_excerpts": int((~is_whole).sum()),
        "threshold_excerpt_false_positives": int(flagged[~is_whole].sum()),
    }
    card = box_card(
        name=out.resolve().name,
        trained_on=tuple(sorted({track.source for track in trained})),
        selected_on=tuple(f"threshold: {name}" for name in sorted({t.source for t in selected})),
        training_items=hash_items(manifests, [os.fspath(track.path) for track in trained]),
        details=details,
    )
    detector = save_box(card, networks, out)
    shutil.rmtree(folder)
    marked = ours.marked == 1
    return TrainedBox(
        detector,
        n_real=int((~marked).sum()),
        n_marked=int(marked.sum()),
        n_threshold=len(selected),
        false_positives=int(flagged[is_whole].sum()),
        recall=float((strengths(networks, ours)[marked] >= limit).mean()),
        failures=tuple(sorted(failures.items())),
    )


def split_tracks(
    manifests: list[Manifest], valid: list[Manifest], valid_share: float, seed: int
) -> tuple[list[Track], list[Track]]:
    """Return the tracks to train on and those of the threshold corpus.

    Raises:
        ManifestError: See ``train_box``.
    """
    tracks, held = list_tracks(manifests), list_tracks(valid)
    if not held:
        sources = sorted({track.source for track in tracks})
        if len(sources) < 2:
            raise ManifestError(
                f"tracks of one source ({', '.join(sources) or 'none'}), expected two or more, or "
                "--valid: the threshold is chosen on other sources than those trained on"
            )
        chosen: set[str] = set()
        for source in np.random.default_rng(seed).permutation(sources)[:-1]:
            if sum(track.source in chosen for track in tracks) >= valid_share * len(tracks):
                break
            chosen.add(str(source))
        held = [track for track in tracks if track.source in chosen]
        tracks = [track for track in tracks if track.source not in chosen]
    known = {track.sha256 for track in held}
    tracks = [track for track in tracks if track.sha256 not in known]
    for name, some in (("to train on", tracks), ("to choose the threshold on", held)):
        if len(some) < MIN_TRACKS:
            raise ManifestError(f"{len(some)} tracks {name}, expected {MIN_TRACKS} or more")
    return tracks, held


def to_corpus(made: Sequence[Spectra], name: str) -> Corpus:
    """Return the features of spectra; those without content are left out.

    Raises:
        ManifestError: None has content.
    """
    rows = [
        (fold(residual), each.codec, is_marked, spectra.processed)
        for spectra in made
        for is_marked, every in enumerate((spectra.reals, spectra.marked))
        for each in every
        if (residual := flatten(each.spectrum_db)) is not None
    ]
    if not rows:
        raise ManifestError(f"no usable track ({name}), expected music of 5 s or more")
    features = np.stack([row[0] for row in rows])
    excluded = np.isnan(features[..., 0]) | np.stack([codec_periods(row[1]) for row in rows])
    return Corpus(
        features,
        excluded,
        np.array([row[2] for row in rows], dtype=np.float32),
        np.array([row[3] for row in rows]),
    )


def strengths(networks: Networks, corpus: Corpus) -> NDArray[np.float64]:
    """Return the strength of every spectrum of a corpus, without the periods of its codec."""
    return np.array(
        [
            strength(networks.score_periods(features), excluded)
            for features, excluded in zip(corpus.features, corpus.excluded, strict=True)
        ]
    )


def choose_limit(corpus: Corpus, found: NDArray[np.float64]) -> tuple[float, float]:
    """Return the limit and the scale of the tail, from strengths of real music.

    At most ``MAX_FPR`` of the whole files and of the processed excerpts reach the limit, and by
    an exponential tail above the 0.9 quantile at most half of that.
    """
    limits, tails = [], []
    for some in (found[~corpus.processed], found[corpus.processed]):
        if not len(some):
            continue
        rising = np.sort(some)
        n_allowed = int(MAX_FPR * len(rising))
        empirical = float(np.nextafter(rising[-1 - n_allowed], np.inf))
        start = float(np.quantile(rising, _TAIL_QUANTILE))
        tail = max(float(np.mean(rising[rising >= start] - start)), 1e-3)
        limits.append(max(empirical, start + tail * np.log((1 - _TAIL_QUANTILE) / _TAIL_FPR)))
        tails.append(tail)
    return max(limits), tails[0]


def fit_networks(corpus: Corpus, *, n_networks: int, seed: int) -> Networks:
    """Return networks fitted to a corpus; several differ in their seeds."""
    usable = corpus.features[~corpus.excluded]
    centre, scale = usable.mean(axis=0), usable.std(axis=0) + 1e-3
    inputs = torch.from_numpy(np.nan_to_num((corpus.features - centre) / scale))
    excluded, targets = torch.from_numpy(corpus.excluded), torch.from_numpy(corpus.marked)
    fitted = [_fit(inputs, excluded, targets, seed=seed + k) for k in range(n_networks)]
    layers = [[m for m in network if isinstance(m, nn.Linear)] for network in fitted]
    return Networks(
        centre,
        scale,
        tuple(
            np.stack([layer.weight.detach().numpy().T for layer in same])
            for same in zip(*layers, strict=True)
        ),
        tuple(
            np.stack([layer.bias.detach().numpy() for layer in same])
            for same in zip(*layers, strict=True)
        ),
    )


def _fit(
    inputs: torch.Tensor, excluded: torch.Tensor, targets: torch.Tensor, *, seed: int
) -> nn.Sequential:
    """Return one network, trained on the soft maximum over periods."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = (inputs.shape[-1], *N_HIDDEN, 1)
        layers = [nn.Linear(n_in, n_out) for n_in, n_out in pairwise(sizes)]
        nn.init.constant_(layers[-1].bias, -6.0)  # a soft maximum over 500 periods adds 6
        modules = [module for layer in layers for module in (layer, nn.ReLU())]
        network = nn.Sequential(*modules[:-1])
        weights = torch.where(targets == 0, _REAL_WEIGHT, 1.0)
        n_steps = _EPOCHS * -(-len(targets) // _BATCH)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, _LEARNING_RATE, total_steps=n_steps
        )
        for _ in range(_EPOCHS):
            for batch in torch.split(torch.randperm(len(targets)), _BATCH):
                scores = network(inputs[batch])[..., 0].masked_fill(excluded[batch], _EXCLUDED)
                loss = nn.functional.binary_cross_entropy_with_logits(
                    torch.logsumexp(scores, dim=1), targets[batch], weights[batch]
                )
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    return network
