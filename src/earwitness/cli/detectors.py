"""``earwitness detectors``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from earwitness.cli import console


def detectors(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME…]", help="Show the whole card of these: names or folders."),
    ] = None,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON to stdout, and nothing else there.")
    ] = False,
) -> None:
    """List detectors: what they are, and where their weights are or how to get them.

    Nothing is downloaded. With a name, hub id or folder, the whole card is shown.
    """
    from earwitness.detectors.listing import list_detectors, look_up
    from earwitness.reporting.listings import listing_record, tell_card, tell_listing

    listings = [look_up(name) for name in names] if names else list_detectors()
    if as_json:
        print(json.dumps([listing_record(each) for each in listings], indent=2, allow_nan=False))
        return
    tell = tell_card if names else tell_listing
    for listing in listings:
        for line in tell(listing, width=console.out.width):
            console.out.print(line)
