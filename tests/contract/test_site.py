"""The documentation site, and the packages that are released."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def run(*arguments: object, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_generated_pages_are_those_of_the_code(tmp_path: Path) -> None:
    write_pages = runpy.run_path(str(DOCS / "generate.py"))["write_pages"]
    for page in write_pages(tmp_path):
        kept = (DOCS / page.relative_to(tmp_path)).read_text(encoding="utf-8")
        assert kept == page.read_text(encoding="utf-8"), "run python docs/generate.py"


def test_every_page_is_in_the_navigation() -> None:
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    yaml.safe_load(text)
    listed = re.findall(r"([\w./-]+\.md)$", text, re.MULTILINE)
    assert len(set(listed)) == len(listed)
    assert set(listed) == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}


def test_the_site_is_built_without_warnings_and_asks_no_other_host(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(text.replace("[src]", f"[{REPOSITORY / 'src'}]"))
    run("-m", "zensical", "build", "--strict", cwd=tmp_path)
    pages = [page.read_text(encoding="utf-8") for page in (tmp_path / "site").rglob("*.html")]
    assert len(pages) > len(list(DOCS.rglob("*.md"))) - 1
    loaded = re.compile(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=\"?(https?:[^\" >]+)")
    others = {url for page in pages for url in loaded.findall(page)}
    assert not others
    assert any("Least <code>pred_prob</code> called fake" in page for page in pages)  # docstrings


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "--directory", folder, cwd=REPOSITORY)
    return folder


def test_an_installed_wheel_works_and_holds_what_it_needs(packages: Path, tmp_path: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")  # noqa: S202 - our own
    for needed in ("py.typed", "report/templates/page.html", "detectors/shipped/box/card.json"):
        assert f"earwitness/{needed}" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]
    there = str(tmp_path / "installed")
    said = run(
        "-c", "import earwitness; print(earwitness.__file__)", cwd=tmp_path, PYTHONPATH=there
    )
    assert said.startswith(there)
    assert (
        run("-m", "earwitness", "--version", cwd=tmp_path, PYTHONPATH=there) == "earwitness 0.1.0\n"
    )


def test_the_source_package_holds_what_the_tests_need(packages: Path) -> None:
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for needed in ("src/earwitness/__init__.py", "tests/conftest.py", "docs/index.md", "LICENSE"):
        assert needed in names
