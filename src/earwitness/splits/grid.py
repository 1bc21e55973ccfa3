"""Cells: the reals of one corpus against the fakes of one generator.

Conventions: frames have ``target``, ``corpus`` and ``generator``; a corpus or generator that is not
told is ``UNKNOWN``. Where there are several real corpora, the reals of all stand against every
generator as well. Fakes of one generator in two corpora are two makers' fakes.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

ALL = "all"
"""The real corpus of a cell that takes the reals of every corpus."""

UNKNOWN = "unknown"
"""Corpus or generator of an item that does not tell."""


@dataclass(frozen=True)
class Maker:
    """The fakes of one generator in one corpus.

    Attributes:
        name: What people read; it tells the corpus where it must.
        generator: Their generator.
        fake_corpus: Their corpus.
        rows: The fakes.
    """

    name: str
    generator: str
    fake_corpus: str
    rows: pl.DataFrame

    @property
    def keys(self) -> dict[str, str]:
        """What the fakes were cut by."""
        return {"generator": self.generator, "fake_corpus": self.fake_corpus}


@dataclass(frozen=True)
class Cell:
    """Reals of one corpus, or of all, and the fakes of one maker.

    Attributes:
        name: What people read ("FMA × encodec24").
        keys: ``real_corpus, generator, fake_corpus``.
        rows: Reals, then fakes.
    """

    name: str
    keys: dict[str, str]
    rows: pl.DataFrame


def list_cells(frame: pl.DataFrame) -> list[Cell]:
    """Cross the reals of each corpus, and those of all, with the fakes of each maker."""
    real = frame.filter(pl.col("target") == 0)
    corpora = split_by(real, "corpus")
    if len(corpora) > 1:
        corpora.append((ALL, real))
    makers = list_makers(frame)
    return [
        Cell(
            f"{'all reals' if corpus == ALL else corpus} × {maker.name}",
            {"real_corpus": corpus} | maker.keys,
            pl.concat([reals, maker.rows]),
        )
        for corpus, reals in corpora
        for maker in makers
    ]


def list_makers(frame: pl.DataFrame) -> list[Maker]:
    """Return the fakes of each generator and corpus, by name of the generator, then corpus."""
    fakes = frame.filter(pl.col("target") == 1)
    found = [
        (generator, corpus, rows)
        for generator, of_generator in split_by(fakes, "generator")
        for corpus, rows in split_by(of_generator, "corpus")
    ]
    names = [generator for generator, _, _ in found]
    return [
        Maker(
            generator if names.count(generator) == 1 else f"{generator} ({corpus})",
            generator,
            corpus,
            rows,
        )
        for generator, corpus, rows in found
    ]


def split_by(frame: pl.DataFrame, column: str) -> list[tuple[str, pl.DataFrame]]:
    """Return each value of a column with its rows, in the order of the values."""
    parts = frame.partition_by(column, maintain_order=True)
    return sorted(((str(part[column][0]), part) for part in parts), key=lambda pair: pair[0])
