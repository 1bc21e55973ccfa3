"""``bench.yaml``: its schema, and reading and writing it.

Unknown and repeated keys are errors. Relative paths start from the folder of the file, or from the
working folder for a configuration made in Python, and are made absolute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from earwitness.bench.sections import (
    FOLDER,
    AuditSection,
    Count,
    EvaluateSection,
    FilePath,
    OutputsSection,
    StressSection,
    from_folder,
)
from earwitness.core.errors import UsageError, first_line
from earwitness.core.io import write_text
from earwitness.core.registry import nearest
from earwitness.datasets.catalog import LAYOUTS
from earwitness.datasets.hub import PREFIX
from earwitness.detectors.described import absolute_form
from earwitness.detectors.hub import is_hub_id
from earwitness.detectors.loading import DETECTORS, published_name
from earwitness.scoring.options import DetectorOptions, ScoringSection, Section
from earwitness.splits.build import SplitOptions


class SplitsSection(SplitOptions):
    """Datasets in the published tree; see ``SplitOptions``."""

    root: FilePath = Field(default=Path(), validate_default=True)

    @field_validator("*")
    @classmethod
    def _is_absolute(cls, value: Any, info: ValidationInfo) -> Any:
        return from_folder(value, info) if isinstance(value, Path) else value

    @field_validator("datasets")
    @classmethod
    def _are_known(
        cls, datasets: dict[str, Path | None] | None, info: ValidationInfo
    ) -> dict[str, Path | None] | None:
        if datasets is None:
            return None
        for name in datasets:
            if name not in LAYOUTS and not name.startswith(PREFIX):
                hint = nearest(name, list(LAYOUTS)) or f"; known: {', '.join(sorted(LAYOUTS))}"
                raise ValueError(f"no dataset named {name!r}{hint}")
        return {name: path and from_folder(path, info) for name, path in datasets.items()}


class FolderSection(Section):
    """A folder of ``real/**`` and ``fake/<generator>/**``."""

    path: FilePath
    seed: Count = 42
    one_per_group: bool = False
    absolute_paths: bool = False


class ManifestsSection(Section):
    """Existing manifests, or folders of them; ``root`` is that of their relative paths."""

    files: tuple[FilePath, ...] = Field(min_length=1)
    root: FilePath | None = None


class DataSection(Section):
    """What to score: exactly one of the three."""

    splits: SplitsSection | None = None
    folder: FolderSection | None = None
    manifests: ManifestsSection | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"found {found}, expected one of splits, folder, manifests")
        return self


class _NamedWeights(Section):
    name: str = Field(min_length=1)
    weights: FilePath | None = None


class DetectorSection(DetectorOptions, _NamedWeights):
    """A detector and its options; a string is its name, hub id or folder of weights."""

    @model_validator(mode="before")
    @classmethod
    def _may_be_a_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def _may_be_a_folder(cls, name: str, info: ValidationInfo) -> str:
        folder = from_folder(Path(name), info)
        if form := absolute_form(name, from_folder(Path(), info)):
            return form
        if name in DETECTORS or published_name(name):
            return name
        if folder.is_dir() or (folder.is_file() and folder.suffix in (".yaml", ".yml")):
            return str(folder)
        if is_hub_id(name):
            return name
        hint = nearest(name, list(DETECTORS)) or f"; known: {', '.join(DETECTORS)}"
        raise ValueError(f"expected a detector's name, a hub id or a folder of weights{hint}")


class BenchConfig(Section):
    """Configuration of a benchmark; ``out`` is the run folder."""

    out: FilePath = Field(default=Path("run"), validate_default=True)
    data: DataSection
    detectors: tuple[DetectorSection, ...] = Field(min_length=1)
    scoring: ScoringSection = ScoringSection()
    audit: AuditSection = AuditSection()
    evaluate: EvaluateSection = EvaluateSection()
    stress: StressSection | None = None
    outputs: OutputsSection = OutputsSection()


BENCH_YAML = "bench.yaml"
_RESOLVED = (
    "# Resolved by earwitness: what this run folder was made with. Repeat it elsewhere with\n"
)

_KeyPath = tuple[str | int, ...]


def write_template(path: Path, *, force: bool = False) -> None:
    """Write a commented ``bench.yaml`` to start from.

    Raises:
        UsageError: The file exists.
    """
    if path.exists() and not force:
        raise UsageError(f"{path}: exists, expected a new file; --force overwrites it")
    template = files("earwitness.bench") / "templates" / BENCH_YAML
    write_text(path, template.read_text(encoding="utf-8"))


def read_config(path: Path, *, changes: Sequence[str] = (), out: Path | None = None) -> BenchConfig:
    """Read a configuration.

    Args:
        path: The file.
        changes: Overrides ``KEY=VALUE``: a dotted key and a YAML value (``scoring.windows=3``,
            ``detectors.0.weights=mine``).
        out: Run folder that replaces the file's.

    Raises:
        UsageError: The file cannot be read or is not valid: the first problem is shown with its
            line and key, the others are counted.
    """
    content, lines = parse_yaml(path)
    for change in changes:
        key = _set(content, change)
        lines = {at: line for at, line in lines.items() if _dotted(at) != key}
    if out is not None:
        content["out"] = str(out.absolute())
    try:
        return BenchConfig.model_validate(content, context={FOLDER: path.parent})
    except ValidationError as error:
        raise UsageError(_first_problem(path, error.errors(), lines)) from None


def write_resolved(config: BenchConfig, path: Path) -> None:
    """Write a configuration into its run folder, with all defaults.

    Raises:
        UsageError: The file exists and was not written by this function.
    """
    found = path.read_text(encoding="utf-8", errors="replace") if path.exists() else _RESOLVED
    if not found.startswith(_RESOLVED):
        raise UsageError(
            f"{path}: would be replaced by the resolved configuration; choose another run folder "
            "(out), or move the file out of it"
        )
    content = config.model_dump(mode="json", exclude_none=True) | {"out": "."}
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    text = f"{_RESOLVED}#   earwitness bench run {BENCH_YAML} --out ANOTHER_FOLDER\n{body}"
    if found != text:
        write_text(path, text)


def parse_yaml(path: Path) -> tuple[dict[str, Any], dict[_KeyPath, int]]:
    """Return the content of a ``bench.yaml``, not validated, and the line of every key.

    Raises:
        UsageError: It cannot be read, or is not a mapping.
    """
    text, most_nodes = _read(path), 50_000
    # PyYAML raises the last four if a value is not of the type that its tag says.
    invalid = (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, LookupError)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        at = [] if root is None else list(islice(_lines(path, root, ()), most_nodes + 1))
        if len(at) > most_nodes:
            raise UsageError(f"{path}: more than {most_nodes} values, aliases expanded")
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: no YAML ({error.problem})") from None
    except invalid as error:
        first = first_line(error)
        raise UsageError(f"{path}: no YAML ({first})") from None
    if not isinstance(content, dict):
        found = "empty" if content is None else _short(content)
        raise UsageError(f"{path}: {found}, expected keys: {', '.join(BenchConfig.model_fields)}")
    return content, dict(at)


def _read(path: Path, most_bytes: int = 1 << 20) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise UsageError(f"{path}: over {most_bytes} bytes, expected a smaller file")
        return content.decode("utf-8-sig")
    except OSError as error:
        hint = "; earwitness bench init writes one" if isinstance(error, FileNotFoundError) else ""
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}){hint}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8, expected a YAML file") from None


def _lines(path: Path, node: yaml.Node, at: _KeyPath) -> Iterator[tuple[_KeyPath, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{path}:{line}: found a key that is not text")
            here = (*at, str(key.value))
            if here in seen:
                raise UsageError(f"{path}:{line}: {_dotted(here)}: found a second time")
            seen.add(here)
            yield from _lines(path, value, here)
            yield here, line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(path, value, (*at, index))


def _set(content: dict[str, Any], change: str) -> str:
    """Apply ``KEY=VALUE``, making the sections on the way, and return the key."""
    key, separator, text = change.partition("=")
    if not separator or not key:
        raise UsageError(f"--set {change}: expected KEY=VALUE, as scoring.windows=3")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {change}: the value is no YAML") from None
    place: Any = content
    *sections, last = key.split(".")
    for section in sections:
        place = _step(place, section, change)
    place[_index(place, last, change) if isinstance(place, list) else last] = value
    return key


def _step(place: Any, section: str, change: str) -> Any:
    if isinstance(place, list):
        index = _index(place, section, change)
        if isinstance(place[index], str):
            place[index] = {"name": place[index]}
        return place[index]
    if not isinstance(place.get(section), dict | list):
        place[section] = {}
    return place[section]


def _index(place: list[Any], text: str, change: str) -> int:
    if text.isdecimal() and int(text) < len(place):
        return int(text)
    raise UsageError(f"--set {change}: {text}, expected a number from 0 to {len(place) - 1}")


def _first_problem(path: Path, errors: Sequence[ErrorDetails], lines: dict[_KeyPath, int]) -> str:
    first = errors[0]
    at = tuple(part for part in first["loc"] if not str(part).startswith("function-"))
    line = lines.get(at[:-1] if first["type"] == "missing" else at)
    where = f"{path}:{line}" if line else f"{path}"
    others = f" (and {len(errors) - 1} more problems)" if len(errors) > 1 else ""
    return f"{where}: {_dotted(at) or 'the file'}: {_describe(first, at)}{others}"


def _describe(error: ErrorDetails, at: _KeyPath) -> str:
    if error["type"] == "extra_forbidden":
        known = list(_section_at(at[:-1]).model_fields)
        return "no such key" + (nearest(str(at[-1]), known) or f"; known: {', '.join(known)}")
    if error["type"] == "missing":
        return "found nothing, expected a value"
    if error["type"] == "too_short":
        return "found none, expected one or more"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if message.startswith("found "):
        return message
    return f"found {_short(error['input'])}; {message}"


def _section_at(at: _KeyPath) -> type[BaseModel]:
    section: type[BaseModel] = BenchConfig
    for part in at:
        if isinstance(part, str):
            section = _section(section.model_fields[part].annotation)
    return section


def _section(annotation: Any) -> type[BaseModel]:
    """Return the section of a field that may be optional or one of several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_section(part) for part in getattr(annotation, "__args__", ()) if part is not Ellipsis)
    return next((part for part in inner if part is not BaseModel), BaseModel)


def _dotted(at: _KeyPath) -> str:
    return ".".join(map(str, at))


def _short(value: Any, most: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"
