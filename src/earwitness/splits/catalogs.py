"""Catalogs of datasets by name: registered ones, and those of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from earwitness.core.errors import DatasetError, EarwitnessError
from earwitness.core.registry import summarize_error
from earwitness.datasets.catalog import (
    CATALOG_COLUMNS,
    LAYOUTS,
    PUBLISHED,
    Catalog,
    CatalogRequest,
    Layout,
)
from earwitness.datasets.hub import PREFIX, hub_layout
from earwitness.datasets.parquet_rows import ALL_SHARDS, Rows

if TYPE_CHECKING:
    from earwitness.splits.build import SplitOptions


def load_layout(name: str, options: SplitOptions) -> Layout:
    """Return the layout of a registered name, or of ``hf:owner/name``."""
    if name.startswith(PREFIX):
        rows = Rows(
            label=options.label_column,
            real=options.real_labels or (),
            generator=options.generator_column or "generator",
            group=(options.group_column or "group_id",),
            must_have=tuple(filter(None, (options.generator_column, options.group_column))),
        )
        return hub_layout(name, rows, shards=options.shards or ALL_SHARDS)
    layout: Layout = LAYOUTS.load(name)
    return layout


def open_catalog(
    name: str,
    layout: Layout,
    folder: Path | None,
    wanted: Mapping[int, int],
    options: SplitOptions,
    *,
    allow_missing: bool = False,
) -> Catalog:
    """Return the catalog of a dataset; errors of another package's code become one line.

    Args:
        name: Registered name, or ``hf:owner/name``.
        layout: Its layout.
        folder: The dataset's folder or the one above it; ``None``: its place below the root.
        wanted: Number of items requested of each class.
        options: Options of the layout.
        allow_missing: Describe missing parts of the dataset instead of raising an error.
    """
    is_on_hub = name.startswith(PREFIX)
    default = layout.place if is_on_hub else (options.root or Path()) / layout.place
    if name in PUBLISHED and folder is not None and (folder / layout.place).is_dir():
        folder /= layout.place
    request = CatalogRequest(
        folder or default,
        wanted,
        options.checks,
        {option: getattr(options, option) for option in layout.options},
        allow_missing=allow_missing,
    )
    if LAYOUTS.is_built_in(name) or is_on_hub:
        return layout.list_files(request)
    try:
        catalog = layout.list_files(request)
        missing = sorted({*CATALOG_COLUMNS} - {*catalog.frame.columns})
    except EarwitnessError:
        raise
    except Exception as error:
        raise DatasetError(f"dataset {name!r}: {summarize_error(error)}") from error
    if missing:
        raise DatasetError(f"dataset {name!r}: its catalog lacks columns {', '.join(missing)}")
    return catalog
