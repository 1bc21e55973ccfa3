"""Readers of declared layouts: files by pattern, and tables of files.

Conventions: a declared path is the end of a path, so a copy is read whether its folder, the folder
above it or several unpacked parts are given. The key is the declared part. Files that no
declaration names are counted in ``looked_at``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from earwitness.core.errors import DatasetError
from earwitness.core.io import tidy_path
from earwitness.core.spectrogram import parse_target
from earwitness.core.text_table import decode, is_missing, listed, parse_number, read_table
from earwitness.datasets.catalog import (
    AudioFolder,
    Catalog,
    CatalogRequest,
    DatasetCard,
    Layout,
    Omission,
    catalog_frame,
    scan_audio,
)

UNKNOWN = "unknown"
"""Generator of fakes whose dataset does not say it."""

Fields = Mapping[str, str]
Row = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """Files of one kind.

    Attributes:
        pattern: Regular expression of the end of their paths. Its groups: ``piece`` (the track or
            utterance), and optionally ``generator``, ``artist``, ``split`` and ``fake`` (0 or 1).
        target: Their class, unless the pattern has ``fake``.
        generator: Their generator, unless the pattern has ``generator``.
    """

    pattern: str
    target: int | None = None
    generator: str = UNKNOWN


@dataclass(frozen=True)
class Files:
    """A layout in which paths say everything.

    Attributes:
        rules: Kinds of files; the first that matches counts.
        passed_over: Pattern of audio that is no item (stems of a mix, say).
    """

    rules: tuple[Rule, ...]
    passed_over: str = ""

    def read(self, source: str, root: Path) -> Catalog:
        """Return the catalog of the files below a folder, see ``read_files``."""
        return read_files(source, root, self.rules, passed_over=self.passed_over)


@dataclass(frozen=True)
class Table:
    """A table of files.

    Attributes:
        path: Path below the dataset's folder, and other places it may have.
        split: Split of its rows.
    """

    path: tuple[str, ...]
    split: str = ""


@dataclass(frozen=True)
class Tables:
    """A layout in which tables list the files.

    Texts are formatted with the fields of a row: ``"{speaker}"``.

    Attributes:
        tables: Tables, of which at least one must exist.
        audio: End of the path of a row's file.
        group: The track, song or speaker.
        label: Column with the class, or the class of all rows.
        columns: Names of the columns of a table without a header, delimited by blanks or tabs;
            empty for a CSV with a header. Further cells of a row are not read.
        n_skipped: Number of lines above the rows of a table without a header.
        generator: Generator of fakes.
        artist: Artist or speaker; may be empty.
        split: Split of a row; by default that of its table.
        duration_s: Duration in seconds; may be empty.
        kept: Columns to keep under their names.
        endings: What may replace the suffix of ``audio`` (".low.mp3").
    """

    tables: tuple[Table, ...]
    audio: str
    group: str
    label: str | int
    columns: tuple[str, ...] = ()
    n_skipped: int = 0
    generator: str = UNKNOWN
    artist: str = ""
    split: str = ""
    duration_s: str = ""
    kept: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()

    def read(self, source: str, root: Path) -> Catalog:
        """Return the catalog of the files in the tables.

        Raises:
            DatasetError: ``root`` is no folder, there is no table, or a row is invalid.
        """
        scanned = scan_audio(root)
        found = [(table, _find(root, table.path)) for table in self.tables]
        items = ItemList(source, root, scanned)
        items.looked_at += [f"{root / t.path[0]}: no such file" for t, path in found if not path]
        by_name = defaultdict(list)
        for file in scanned.files:
            by_name[tidy_path(file).rpartition("/")[2]].append(file)
        taken: set[str] = set()
        for table, path in found:
            if path is not None:
                rows = self._rows(path)
                items.looked_at.append(f"{path}: {len(rows)} rows")
                for where, fields in rows:
                    taken |= self._add(items, table, fields, where, by_name)
        if not any(path for _, path in found):
            items.refuse(f"none of {listed([t.path[0] for t in self.tables])}")
        items.other += [file for file in scanned.files if file not in taken]
        return items.catalog(1)

    def _rows(self, path: Path) -> list[tuple[str, Row]]:
        """Return where each row is, and its fields."""
        if not self.columns:
            table = read_table(path, error=DatasetError, needed=self._needed)
            lines = (f"{path}:{line}" for line in table.lines)
            return list(zip(lines, table.frame.iter_rows(named=True), strict=True))
        return list(_split_lines(path, self.columns, self.n_skipped))

    @property
    def _needed(self) -> tuple[str, ...]:
        """Columns that every table must have."""
        texts = (self.audio, self.group, self.generator, self.artist, self.split, self.duration_s)
        named = re.findall(r"{(\w+)}", " ".join(texts))
        label = [self.label] if isinstance(self.label, str) else []
        return tuple(dict.fromkeys([*named, *label, *self.kept]))

    def _add(
        self,
        items: ItemList,
        table: Table,
        fields: Row,
        where: str,
        by_name: Mapping[str, list[str]],
    ) -> set[str]:
        """Add a row; return its files."""
        known = {name: value or "" for name, value in fields.items()}
        target = self._target(known, where)
        path = tidy_path(self.audio.format_map(known))
        paths = [path, *(path.rpartition(".")[0] + ending for ending in self.endings)]
        files = [file for each in paths for file in _with_ending(each, by_name)]
        if len(files) != 1:
            why = f"{len(files)} files of this name" if files else "no such file"
            items.omitted.append(Omission(target, path, why))
            return set(files)
        row = {
            "key": path,
            "target": target,
            "split_tag": self.split.format_map(known) or table.split,
            "generator": _named(self.generator.format_map(known)) if target else None,
            "group_id": _named(self.group.format_map(known)),
            "artist": _named(self.artist.format_map(known), None),
            "duration_s": _seconds(self.duration_s.format_map(known)),
        }
        items.add(files[0], row | {name: _named(known[name], None) for name in self.kept})
        return set(files)

    def _target(self, fields: Fields, where: str) -> int:
        if isinstance(self.label, int):
            return self.label
        target = parse_target(fields[self.label])
        if target is None:
            expected = "expected a word for real or fake (bonafide, spoof)"
            raise DatasetError(f"{where}: {self.label} {fields[self.label]!r}, {expected}")
        return target


class ItemList:
    """Rows and omissions of a dataset while it is read."""

    def __init__(self, source: str, root: Path, scanned: AudioFolder) -> None:
        self.omitted: list[Omission] = []
        self.looked_at: list[str] = []
        self.other: list[str] = []
        self._source, self._root, self._scanned = source, root, scanned
        self._rows: dict[str, Row] = {}

    def add(self, path: str, row: Row) -> None:
        """Add the row of a file, unless its key is taken."""
        if row["key"] in self._rows:
            self.omitted.append(Omission(row["target"], path, "another file has its name"))
            return
        at = f"{self._root.absolute().as_posix().rstrip('/')}/{path}"
        group = f"{self._source.lower()}:{row['group_id']}"
        self._rows[row["key"]] = row | {"filepath": at, "group_id": group}

    def refuse(self, found: str) -> None:
        """Raise the error of a folder that is another."""
        inside = sorted(entry.name for entry in self._root.iterdir())
        expected = f"expected the folder of {self._source}"
        raise DatasetError(f"{self._root}: {found}; it contains {listed(inside)}, {expected}")

    def catalog(self, target: int) -> Catalog:
        """Return the catalog; ``target`` is the class of files with invalid names."""
        if not self._rows and not self.omitted:
            self.refuse("no file in its layout")
        unreadable = self._scanned.list_unreadable(target=target)
        columns: dict[str, list[Any]] = {}
        for name in next(iter(self._rows.values()), {"key", "filepath", "target"}):
            columns[name] = [row[name] for row in self._rows.values()]
        first = "".join(self.other[:1])
        more = f", {len(self.other)} not in its layout ({first} first)" if self.other else ""
        self.looked_at.append(self._scanned.describe() + more)
        frame = catalog_frame(columns, source=self._source)
        omitted = (*self.omitted, *unreadable)
        looked_at, unlisted = tuple(self.looked_at), tuple(self.other)
        return Catalog(self._source, frame, omitted, looked_at, unlisted=unlisted)


def read_files(
    source: str,
    root: Path,
    rules: Sequence[Rule],
    *,
    passed_over: str = "",
    add: Callable[[ItemList, str, Row], None] | None = None,
) -> Catalog:
    """Return the catalog of files whose paths say everything.

    Args:
        source: Name of the dataset.
        root: Its folder.
        rules: Kinds of files; the first that matches counts.
        passed_over: Pattern of audio that is no item.
        add: Adds a row to the items, or omits it; by default adds it.

    Raises:
        DatasetError: ``root`` is no folder, or no file matches.
    """
    scanned = scan_audio(root)
    compiled = [(rule, _ending(rule.pattern)) for rule in rules]
    ignored = _ending(passed_over) if passed_over else None
    items = ItemList(source, root, scanned)
    for path in scanned.files:
        matches = ((rule, pattern.fullmatch(path)) for rule, pattern in compiled)
        row = next((_by_rule(rule, match) for rule, match in matches if match), None)
        if row is not None and add is not None:
            add(items, path, row)
        elif row is not None:
            items.add(path, row)
        elif ignored is None or not ignored.fullmatch(path):
            items.other.append(path)
    return items.catalog(rules[-1].target or 0)


def declare(
    source: str, content: Files | Tables, card: DatasetCard, *, classes: tuple[int, ...] = (0, 1)
) -> Layout:
    """Return the layout of a declared dataset."""
    return declare_reader(source, content.read, card, classes=classes)


def declare_reader(
    source: str,
    read: Callable[[str, Path], Catalog],
    card: DatasetCard,
    *,
    classes: tuple[int, ...] = (0, 1),
) -> Layout:
    """Return the layout of a dataset with a reader of its own, which gets source and folder."""

    def list_files(request: CatalogRequest) -> Catalog:
        return read(source, request.folder)

    return Layout(source, list_files, place=Path(source), classes=classes, card=card)


def _ending(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?:.*/)?(?P<key>{pattern})", re.IGNORECASE)


def _by_rule(rule: Rule, match: re.Match[str]) -> Row:
    named = match.groupdict()
    target = int(named["fake"]) if "fake" in named else rule.target
    return {
        "key": named["key"],
        "target": target,
        "split_tag": named.get("split") or ("fake" if target else "real"),
        "generator": (named.get("generator") or rule.generator) if target else None,
        "group_id": named["piece"],
        "artist": named.get("artist"),
    }


def _find(root: Path, places: Iterable[str]) -> Path | None:
    return next((root / place for place in places if (root / place).is_file()), None)


def _with_ending(path: str, by_name: Mapping[str, list[str]]) -> list[str]:
    """Return the files whose path is ``path`` or ends with it."""
    named = by_name.get(PurePosixPath(path).name, [])
    return [file for file in named if f"/{tidy_path(file)}".endswith(f"/{path}")]


def _split_lines(path: Path, columns: Sequence[str], n_skipped: int) -> Iterator[tuple[str, Row]]:
    try:
        text = decode(path.read_bytes())[2]
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error})") from None
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        if number <= n_skipped or not line.strip():
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        if len(cells) < len(columns):
            expected = f"expected {len(columns)} ({' '.join(columns)})"
            raise DatasetError(f"{path}:{number}: {len(cells)} fields, {expected}")
        yield f"{path}:{number}", dict(zip(columns, map(str.strip, cells), strict=False))


def _named(text: str, otherwise: str | None = UNKNOWN) -> str | None:
    return otherwise if is_missing(text) else text


def _seconds(text: str) -> float | None:
    return parse_number(text) if text else None
