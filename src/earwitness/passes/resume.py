"""Whether a run may go on where another stopped.

Conventions: a run is described by what ``run.json`` says. What decides a score must be the same:
weights and contract of a detector, preprocessing, precision, windows, ``skip_time``, the rows of a
manifest and where its files lie. Batch size, workers, device, threshold and versions may change;
detectors and manifests may be added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from earwitness.core.errors import RunError

Resume = Literal["missing", "always", "never"]
"""What happens to rows that are finished: kept, scored anew, or not to be there at all."""

RUN_JSON = "run.json"
"""What describes a run, in its folder."""

_OPTIONS = ("windows", "use_skip_time")
_CARD = (
    "kind",
    "contract",
    "images",
    "classes",
    "preprocessing",
    "precision",
    "encoders",
    "needs",
    "weights_sha256",
    "details",
)
_MANIFEST = ("digest", "roots")
_SHOWN = 60


class _Manifest(BaseModel):
    digest: str
    roots: list[str] = []


class _Detector(BaseModel):
    name: str = Field(max_length=1_000)


class _Run(BaseModel):
    """The parts of ``run.json`` that are looked into; further ones are only compared."""

    model_config = ConfigDict(strict=True)

    options: dict[str, JsonValue]
    manifests: dict[str, _Manifest]
    detectors: list[_Detector]
    libraries: dict[str, JsonValue] = {}


def read_run(path: Path) -> dict[str, Any] | None:
    """Return what ``run.json`` says, or ``None`` where there is none.

    Raises:
        RunError: It cannot be read as one.
    """
    try:
        run: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as the description of a run ({error})") from error
    try:
        _Run.model_validate(run)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        problem = f"{where}: {first['msg']}" if where else first["msg"]
        raise RunError(f"{path}: not the description of a run: {problem[:200]}") from None
    return dict(run)


def check_same(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run that other scores would come of.

    Raises:
        RunError: Something that decides a score differs; all that does is named.
    """
    differences = list(_differences(before, now))
    if differences:
        raise RunError(
            f"{path}: the run there is another one: {'; '.join(differences)}. "
            "Choose another folder, or --resume always to score anew"
        )


def changed_detectors(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """Return the detectors of an earlier run whose scores are not what they would be now.

    All of them where an option that decides scores differs, those of ``now`` that are others now,
    else none.
    """
    cards = {card["name"]: card for card in before["detectors"]}
    if any(_compare("option", before["options"], now["options"], _OPTIONS)):
        return set(cards)
    return {
        card["name"]
        for card in now["detectors"]
        if card["name"] in cards and any(_compare("detector", cards[card["name"]], card, _CARD))
    }


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    yield from _compare("option", before["options"], now["options"], _OPTIONS)
    for name in before["manifests"].keys() & now["manifests"].keys():
        was, is_now = before["manifests"][name], now["manifests"][name]
        yield from _compare(f"manifest {name}", was, is_now, _MANIFEST)
    cards = {card["name"]: card for card in before["detectors"]}
    for card in now["detectors"]:
        if card["name"] in cards:
            yield from _compare(f"detector {card['name']}", cards[card["name"]], card, _CARD)


def _compare(
    what: str, was: Mapping[str, Any], is_now: Mapping[str, Any], keys: tuple[str, ...]
) -> Iterator[str]:
    for key in keys:
        one, other = was.get(key), is_now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            inner = tuple(sorted(one.keys() | other.keys()))
            yield from _compare(f"{what} {key}", one, other, inner)
        elif one != other:
            yield f"{what} {key} was {_short(one)}, is {_short(other)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
