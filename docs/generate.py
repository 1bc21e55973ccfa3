"""Write the pages that follow from the code and the notebooks: commands.md, api.md, notebooks/."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

import earwitness
from earwitness.cli import make_app

DOCS = Path(__file__).parent


def write_pages(folder: Path = DOCS) -> list[Path]:
    """Write the pages into a folder, and return them."""
    pages = {"commands.md": "\n".join(command_lines()), "api.md": "\n".join(api_lines())}
    for notebook in sorted((DOCS / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{notebook.stem}.md"] = "\n".join(notebook_lines(notebook))
    for name, text in pages.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    return [folder / name for name in pages]


def command_lines() -> Iterator[str]:
    """Yield the page of all commands with their options."""
    yield "# Commands"
    yield "Written by `python docs/generate.py`; `earwitness COMMAND --help` shows the same."
    application: Any = typer.main.get_command(make_app())
    for name, command in sorted(_commands(application, ())):
        yield from ("", f"## earwitness {' '.join(name)}", _text(command.help), "")
        yield from ("| option | meaning |", "| --- | --- |")
        for parameter in command.params:
            yield f"| {_usage(parameter)} | {_cell(getattr(parameter, 'help', None) or '')} |"


def _commands(group: Any, name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*name, key))
        else:
            yield (*name, key), command


def _usage(parameter: Any) -> str:
    metavar = parameter.metavar or _kind(parameter.type_descriptor.annotation)
    if parameter.param_type_name == "argument":
        return f"`{metavar if parameter.metavar else parameter.name.upper()}`"
    is_switch = getattr(parameter, "is_flag", False) or metavar == "BOOL"
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = f" ({default})" if type(default) in {str, int, float} and default != "" else ""
    return f"{names}{'' if is_switch else f' {_cell(metavar)}'}{shown}"


def _kind(annotation: Any) -> str:
    """Return ``INT``, or the choices of a literal."""
    choices = [str(choice) for choice in get_args(annotation) if isinstance(choice, str)]
    return "|".join(choices) or getattr(annotation, "__name__", "VALUE").upper()


def _text(text: str | None) -> str:
    return (text or "").replace("\\[", "[").replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(_text(text).split()).replace("|", "\\|")


def api_lines() -> Iterator[str]:
    """Yield the page of the public names of the package."""
    yield "# Python interface"
    yield "`import earwitness` loads neither torch nor polars: names are loaded when first used."
    for name, home in sorted(earwitness._HOMES.items(), key=lambda item: item[0].casefold()):
        module, _, own_name = home.partition(":")
        yield from ("", f"::: {module}.{own_name or name}")


def notebook_lines(path: Path) -> Iterator[str]:
    """Yield a notebook as a page: its text, and its code in blocks."""
    for at, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        text = "".join(cell["source"])
        yield text if cell["cell_type"] == "markdown" else f"\n```python\n{text}\n```\n"
        if at == 0:
            yield f"\nThis page is [a notebook]({path.name}), which a test runs."


if __name__ == "__main__":
    for page in write_pages():
        print(page)
