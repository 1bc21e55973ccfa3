"""``bench.yaml`` on disk: read with every error told in one line, written as it was resolved.

Conventions: YAML without code (``safe_load``); an error says file, line and key path
(``bench.yaml:12: scoring.window: …``); a key that stands twice is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from earwitness.bench.config import FOLDER, BenchConfig
from earwitness.core.errors import UsageError
from earwitness.core.io import write_text
from earwitness.core.registry import nearest

BENCH_YAML = "bench.yaml"
_RESOLVED = (
    "# Resolved by earwitness: what this run folder was made with. Repeat it elsewhere with\n"
)
_HOW = "#   earwitness bench run {name} --out ANOTHER_FOLDER\n"
_SHOWN = 60
_CONSTRUCTION = (RecursionError, ValueError, TypeError, AttributeError, LookupError)
"""What PyYAML lets through where a value is not of the type that its tag says."""
_MOST_BYTES = 1 << 20
_MOST_NODES = 50_000

KeyPath = tuple[str | int, ...]


def write_template(path: Path, *, force: bool = False) -> None:
    """Write a commented ``bench.yaml`` to start from.

    Raises:
        UsageError: There is a file already.
    """
    if path.exists() and not force:
        raise UsageError(f"{path}: is there already, expected a new file; --force overwrites it")
    template = files("earwitness.bench") / "templates" / BENCH_YAML
    write_text(path, template.read_text(encoding="utf-8"))


def read_config(path: Path, *, changes: Sequence[str] = (), out: Path | None = None) -> BenchConfig:
    """Read a configuration.

    Args:
        path: The file.
        changes: ``KEY=VALUE``, the key with dots and the value as in the file
            (``scoring.windows=3``, ``detectors.0.weights=mine``).
        out: A run folder in place of the file's.

    Raises:
        UsageError: The file cannot be read, or something in it is not as it should be: the first
            problem is shown with its line and key, and the others are counted.
    """
    text = _read(path)
    content, lines = _parse(path, text)
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
    """Write a configuration into its run folder, every default filled in.

    Raises:
        UsageError: Somebody's own file lies there.
    """
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(
        _RESOLVED
    ):
        raise UsageError(
            f"{path}: would be replaced by the resolved configuration; choose another run folder "
            "(out), or move the file out of it"
        )
    content = config.model_dump(mode="json", exclude_none=True) | {"out": "."}
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    text = f"{_RESOLVED}{_HOW.format(name=BENCH_YAML)}{body}"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"{path}: over {_MOST_BYTES} bytes, expected a smaller file")
        return content.decode("utf-8-sig")
    except OSError as error:
        hint = "; earwitness bench init writes one" if isinstance(error, FileNotFoundError) else ""
        raise UsageError(f"{path}: cannot be read ({error.strerror or error}){hint}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8, expected a YAML file") from None


def read_content(path: Path) -> dict[str, Any]:
    """Return what a ``bench.yaml`` holds, without a look at whether its keys are known.

    Raises:
        UsageError: It cannot be read, or is no mapping.
    """
    return _parse(path, _read(path))[0]


def _parse(path: Path, text: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Return what a file holds, and the line of every key."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        at = [] if root is None else list(islice(_lines(path, root, ()), _MOST_NODES + 1))
        if len(at) > _MOST_NODES:
            raise UsageError(f"{path}: more than {_MOST_NODES} values, aliases expanded")
        lines = dict(at)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: no YAML ({error.problem})") from None
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
    ) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path}: no YAML ({first})") from None
    if not isinstance(content, dict):
        found = "empty" if content is None else _short(content)
        raise UsageError(f"{path}: {found}, expected keys: {', '.join(BenchConfig.model_fields)}")
    return content, lines


def _lines(path: Path, node: yaml.Node, at: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{path}:{key.start_mark.line + 1}: a key that is no text")
            here = (*at, str(key.value))
            if here in seen:
                line = key.start_mark.line + 1
                raise UsageError(f"{path}:{line}: {_dotted(here)}: stands here a second time")
            seen.add(here)
            yield from _lines(path, value, here)
            yield here, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(path, value, (*at, index))


def _set(content: dict[str, Any], change: str) -> str:
    """Put a value where a dotted key points, and return the key; sections on the way are made."""
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
    if isinstance(place, list):
        place[_index(place, last, change)] = value
    else:
        place[last] = value
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


def _first_problem(path: Path, errors: Sequence[ErrorDetails], lines: dict[KeyPath, int]) -> str:
    first = errors[0]
    at = tuple(part for part in first["loc"] if not str(part).startswith("function-"))
    line = lines.get(at[:-1] if first["type"] == "missing" else at)
    where = f"{path}:{line}" if line else f"{path}"
    others = f" (and {len(errors) - 1} more problems)" if len(errors) > 1 else ""
    return f"{where}: {_dotted(at) or 'the file'}: {_told(first, at)}{others}"


def _told(error: ErrorDetails, at: KeyPath) -> str:
    if error["type"] == "extra_forbidden":
        known = _fields(at[:-1])
        return "no such key" + (nearest(str(at[-1]), known) or f"; known: {', '.join(known)}")
    if error["type"] == "missing":
        return "not there, expected it"
    if error["type"] == "too_short":
        return "none there, expected one or more"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if message.startswith("found "):
        return message
    return f"found {_short(error['input'])}; {message}"


def _fields(at: KeyPath) -> list[str]:
    """Return the keys of the section that a path leads to."""
    section: type[BaseModel] = BenchConfig
    for part in at:
        if isinstance(part, int):
            continue
        section = _section(section.model_fields[part].annotation)
    return list(section.model_fields)


def _section(annotation: Any) -> type[BaseModel]:
    """Return the section that a field holds, be it optional or one of several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_section(part) for part in getattr(annotation, "__args__", ()) if part is not Ellipsis)
    return next((part for part in inner if part is not BaseModel), BaseModel)


def _dotted(at: KeyPath) -> str:
    return ".".join(map(str, at))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
