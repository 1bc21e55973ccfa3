"""The notebooks run from top to bottom, and are kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
MADE = {
    "benchmark": ("manifests", "report.html"),
    "one-song": ("timeline.png", "song-comb.png", "changed.wav"),
}
"""What each leaves in its folder."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_is_kept_without_outputs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            code = compile("".join(cell["source"]), f"{path.name}:{cell['id']}", "exec")
            exec(code, names)  # noqa: S102 - our own notebook
    for made in MADE[path.stem]:
        assert Path(made).exists()
