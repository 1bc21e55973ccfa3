"""``detector.yaml``: detectors of others, described without code.

Conventions: what a description leaves out is unknown; which value means fake is never guessed.
Relative paths start from the folder of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import DetectorError, WeightsError, first_line
from earwitness.core.io import first_problem, missing

DETECTOR_YAML = "detector.yaml"
HF_PREFIX = "hf:"
Output = Literal["logit", "prob", "two_logits", "two_probs"]
"""One value or two per clip, as logits or as probabilities."""

_PREFIXES = ("onnx", "command")
_TORCHSCRIPT = (
    "TorchScript archives are not opened: torch.jit.load runs the code in them, which may read "
    "and write files; expected onnx:FILE (torch.onnx.export writes one)"
)


class AnyDescription(BaseModel):
    """What every kind of ``detector.yaml`` may say.

    Attributes:
        kind: Kind of detector.
        name: Name in the output; by default that of the file, the folder or the address.
        summary: See ``DetectorCard``, as the fields below.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str
    name: str | None = Field(default=None, min_length=1, max_length=200)
    summary: str = ""
    licence: str = "unknown"
    source: str = "unknown"
    limits: str = "Unknown."
    trained_on: tuple[str, ...] | None = None
    selected_on: tuple[str, ...] | None = None
    band_hz: tuple[float, float] | None = None
    threshold: float = Field(default=0.5, ge=0, le=1)


class Description(AnyDescription):
    """A description of a detector whose output does not say by itself what is fake.

    Attributes:
        output: Form of its output.
        fake: Index of the fake class of two values; of a single value, 1 if it rises with
            fakeness and 0 if it rises with realness.
    """

    output: Output
    fake: Literal[0, 1]


_Description = TypeVar("_Description", bound=AnyDescription)


class Described(NamedTuple):
    """A detector with a description: its name, kind and ``detector.yaml``, and what was named.

    ``target`` is the file or the address that was given instead of a ``detector.yaml``, if any.
    """

    name: str
    kind: str
    path: Path
    target: str | None = None


def find_described(asked: str, given: Path | None) -> Described | None:
    """Return the description of a detector, or ``None`` if it has none.

    Args:
        asked: ``onnx:FILE``, ``command:PATH``, an address, or a ``detector.yaml`` or its folder.
        given: Path of its ``detector.yaml``, if not where it is by default.

    Raises:
        DetectorError: A form that is refused.
        WeightsError: The description is missing or invalid.
    """
    prefix, colon, rest = asked.partition(":")
    if colon and prefix == "torchscript":
        raise DetectorError(f"{asked}: {_TORCHSCRIPT}")
    if colon and prefix in ("http", "https"):
        if given is None:
            raise WeightsError(
                f"{asked}: no description, expected --weights {asked}={DETECTOR_YAML}"
            )
        parts = urlsplit(asked)
        return _described("http", _yaml_at(given), f"{parts.netloc}{parts.path}", asked)
    if colon and prefix == "onnx":
        beside = Path(rest).parent / DETECTOR_YAML
        return _described("onnx", _yaml_at(given or beside), Path(rest).stem, rest)
    if colon and prefix == "command":
        return _described("command", _yaml_at(given or Path(rest)), None)
    path = Path(asked)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return _described(None, path, None)
    return _described(None, path / DETECTOR_YAML, None) if _is_described(path) else None


def absolute_form(asked: str, folder: Path) -> str | None:
    """Return ``onnx:FILE`` or ``command:PATH`` with a path from a folder, an address unchanged.

    ``None`` is any other form.
    """
    prefix, colon, rest = asked.partition(":")
    if colon and prefix in _PREFIXES:
        return f"{prefix}:{folder / Path(rest).expanduser()}"
    if prefix == "hf" and (folder / rest).is_dir():
        return f"hf:{folder / rest}"
    return asked if colon and prefix in ("hf", "http", "https", "torchscript") else None


def _is_described(path: Path) -> bool:
    return (path / DETECTOR_YAML).is_file()


def _yaml_at(path: Path) -> Path:
    return path / DETECTOR_YAML if path.is_dir() else path


def _described(
    kind: str | None, path: Path, name: str | None, target: str | None = None
) -> Described:
    content = _read(path)
    found = content.get("kind")
    if kind is not None and found != kind:
        raise WeightsError(f"{path}: kind: found {found!r}, expected {kind!r}")
    if not isinstance(found, str):
        raise WeightsError(f"{path}: kind: found {found!r}, expected onnx, command, http or hf")
    of_file = path.resolve().parent.name if path.name == DETECTOR_YAML else path.stem
    return Described(str(content.get("name") or name or of_file), found, path, target)


def read_description(path: Path, model: type[_Description]) -> _Description:
    """Read a ``detector.yaml``; raise ``WeightsError`` if it is missing or invalid."""
    try:
        return model.model_validate(_read(path))
    except ValidationError as error:
        raise WeightsError(f"{path}: {first_problem(error)}") from None


def _read(path: Path, most_bytes: int = 1 << 20) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise WeightsError(f"{missing(path)}; expected a description of the detector") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(raw) > most_bytes:
        raise WeightsError(f"{path}: over {most_bytes} bytes, expected a smaller file")
    try:
        text = raw.decode("utf-8-sig")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, yaml.SafeLoader)):
            raise WeightsError(f"{path}: found an alias, expected each value written out")
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, LookupError) as error:
        raise WeightsError(f"{path}: no YAML ({first_line(error)})") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: found {type(content).__name__}, expected keys, such as kind")
    return content


def describe(
    description: Description, name: str, contract: ClipContract, **more: Any
) -> DetectorCard:
    """Return the card of a description."""
    fields = ("summary", "licence", "source", "limits", "trained_on", "selected_on", "threshold")
    known = {field: getattr(description, field) for field in fields}
    details = {"output": description.output, "fake": description.fake} | more.pop("details", {})
    return DetectorCard(
        name=name,
        kind=description.kind,
        contract=contract,
        **{"band_hz": description.band_hz, **known, "details": details, **more},
    )


def to_logits(values: NDArray[np.floating], output: Output, fake: int) -> NDArray[np.float64]:
    """Return the logits of fake, ``(n,)``.

    Args:
        values: ``(n, k)`` outputs, k being 1 or 2 as ``output`` says.
        output: Form of the outputs.
        fake: See ``Description``.

    Raises:
        DetectorError: Another number of values, one that is not finite, or no probability.
    """
    rows = np.asarray(values, np.float64)
    rows = rows.reshape(len(rows), -1)
    n_values = 2 if output.startswith("two") else 1
    if rows.shape[1] != n_values:
        raise DetectorError(f"{rows.shape[1]} values, expected {n_values} ({output})")
    if output.endswith(("prob", "probs")):
        inside = np.isfinite(rows) & (rows >= 0) & (rows <= 1)
        if not inside.all():
            raise DetectorError(f"a score of {rows[~inside][0]:g}, expected 0 to 1 ({output})")
        likely = rows.clip(1e-12, 1 - 1e-12)
        rows = np.log(likely / (1 - likely))
        rows = rows[:, 1:] if output == "two_probs" else rows
    elif output == "two_logits":
        rows = rows[:, 1:] - rows[:, :1]
    if not np.isfinite(rows).all():
        raise DetectorError("a score that is not finite")
    logits: NDArray[np.float64] = rows[:, 0] if fake == 1 else -rows[:, 0]
    return logits
