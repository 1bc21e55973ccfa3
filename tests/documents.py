"""Command lines of the documentation, and which of them cannot be run in a test.

Commands are those of code blocks, and in running text those without an ellipsis; the page of all
commands is generated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from conftest import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted(set((REPOSITORY / "docs").rglob("*.md")) - {REPOSITORY / "docs" / "commands.md"}),
]

NETWORK = "fetches from the network"
NOT_RUN: dict[str, tuple[str, str]] = {
    "make ": ("makes its own environment; CI calls it", ""),
    "python -m venv": (NETWORK, ""),
    ".venv\\Scripts": ("for Windows", ""),
    "pip install": (
        NETWORK,
        "contract/test_site.py::test_an_installed_wheel_works_and_holds_what_it_needs",
    ),
    "apt-get ": (NETWORK, ""),
    "earwitness demo": (
        "takes two minutes; a smaller one is run",
        "demo/test_workspace.py::test_a_worker_that_is_killed_once_costs_nothing",
    ),
    "chromium ": (
        "needs a browser",
        "browser/test_report_page.py::test_it_opens_without_an_error_or_a_request",
    ),
    "sbatch ": ("needs SLURM; the command that it submits is run", ""),
    "ray ": ("`ray stop` ends every cluster of the machine", ""),
    "earwitness predict --detector comb --manifest manifests --out runs/ood-joined": (
        "needs `ray start`",
        "cli/test_ray.py::test_a_run_on_ray_is_a_run_on_one_machine",
    ),
    "EARWITNESS_DAMAGE_CASES": (
        "takes an hour; tests make ten damaged files a format",
        "audio/test_damage_grid.py::test_no_damage_changes_a_file_in_silence",
    ),
    "python docs/generate.py": (
        "writes into the documentation",
        "contract/test_site.py::test_generated_pages_are_those_of_the_code",
    ),
    "python benchmarks/shards.py runs/killed --ray": ("kills a machine of a Ray cluster", ""),
    "python benchmarks/planted.py": ("takes ten minutes", ""),
    "python benchmarks/results.py": ("takes hours, on music of packages and generators", ""),
    "python benchmarks/stress_matrix.py": ("reads music of generators", ""),
    "earwitness stress --manifest stress-matrix": ("takes hours, on music of generators", ""),
    'python benchmarks/run.py --only "stress': ("scores 3 900 rows", ""),
}
"""Beginnings of lines that are not run: why, and a test that does instead what they do, if any."""

_PROGRAMS = r"earwitness|python|pytest|pip|make|chromium|ray|sbatch|apt-get|\.venv[/\\]\S+"
_CONTINUED = re.compile(r"\\\n\s*")
_LINE = re.compile(rf"\s*(?:\$ )?((?:[A-Z_]+=\S+ )?(?:{_PROGRAMS})(?: .*|$))")
_QUOTED = re.compile(r"[\"|;&]\s*(earwitness [^\"\n]*)")
_IN_TEXT = re.compile(r"`(earwitness|python) ([^`]+)`")


def in_blocks(text: str) -> Iterator[str]:
    """Yield command lines of fenced and indented blocks, and what they start, on one line each."""
    is_fenced = False
    for line in _CONTINUED.sub(" ", text).splitlines():
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            found = _LINE.match(line)
            yield from [found[1]] if found else []
            yield from (match[1] for match in _QUOTED.finditer(line))


def in_text(text: str) -> Iterator[str]:
    """Yield commands of running text, which may lack required arguments."""
    for match in _IN_TEXT.finditer(text):
        if "…" not in match[0] and not match[2].startswith("COMMAND"):
            yield match[0].strip("`")


def lines_of(page: Path) -> list[str]:
    """Return the whole command lines of a page: all of blocks, then programs in running text."""
    text = page.read_text(encoding="utf-8")
    return [*in_blocks(text), *(line for line in in_text(text) if line.startswith("python"))]


def why_not_run(line: str) -> tuple[str, str] | None:
    """Return the reason for which a line is not run, and a test that does its work instead."""
    return next((why for start, why in NOT_RUN.items() if line.startswith(start)), None)


def is_run(line: str) -> bool:
    """Return whether a test runs a line."""
    return why_not_run(line) is None


def name_of(page: Path) -> str:
    """Return the path of a page in the repository."""
    return page.relative_to(REPOSITORY).as_posix()
