"""The example package of ``docs/write-a-plugin.md``, installed and used as a user would."""

from __future__ import annotations

import csv
import json
import site
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from builders import write_tone

SIDES = ("real", "toygen")
EXAMPLE = Path(__file__).parents[2] / "examples" / "earwitness-plugin-example"


def build_wheel(folder: Path) -> Path:
    """Pack the example as its build backend would, which would have to be downloaded."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    name = project["name"].replace("-", "_")
    info = f"{name}-{project['version']}.dist-info"
    entries = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in table.items())
        for group, table in project["entry-points"].items()
    ]
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\n"
        f"Version: {project['version']}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "\n".join(entries),
    }
    for path in sorted((EXAMPLE / "src" / "earwitness_example").glob("*.*")):
        files[f"earwitness_example/{path.name}"] = path.read_text()
    record = [f"{path},," for path in (*files, f"{info}/RECORD")]
    wheel = folder / f"{name}-{project['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "\n".join(record))
    return wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the example, and ours below it."""
    folder = tmp_path_factory.mktemp("scratch")
    venv.create(folder / "venv", symlinks=True)
    scripts = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    purelib = Path(found.stdout.strip())
    ours = [path for path in sys.path if path and Path(path).is_dir()] + site.getsitepackages()
    (purelib / "ours.pth").write_text("\n".join(dict.fromkeys(ours)))
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    install = [sys.executable, "-m", "pip", "install", *options, "--target", purelib]
    subprocess.run([*install, build_wheel(folder)], check=True)
    return python


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight tracks of two seconds and a fake of each, one of them too short."""
    folder = tmp_path_factory.mktemp("data")
    for n in range(8):
        for target, side in enumerate(SIDES):
            (folder / "pairs" / side).mkdir(parents=True, exist_ok=True)
            seconds = 0.5 if (n, target) == (0, 1) else 2
            path = folder / "pairs" / side / f"{n}.wav"
            write_tone(path, hz=300 + 40 * n + target, seconds=seconds)
    rows = [f"pairs/{side}/{n}.wav,{t}" for n in range(8) for t, side in enumerate(SIDES)]
    (folder / "set.csv").write_text("\n".join(("filepath,target", *rows)))
    return folder


def run(python: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [python, "-m", "earwitness", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_detector_is_listed_and_scores_and_the_metric_is_computed(
    python: Path, data: Path
) -> None:
    assert "flatness" in run(python, data, "detectors")
    run(
        python,
        data,
        *("predict", "--manifest", "set.csv", "--detector", "flatness"),
        *("--out", "preds", "--num-workers", "0"),
    )
    run(python, data, "evaluate", "preds", "--out", "metrics.json")
    assert '"youden"' in (data / "metrics.json").read_text()


def test_the_perturbation_is_applied_by_stress_and_perturb(python: Path, data: Path) -> None:
    (data / "suite.yaml").write_text(
        "perturbations: [recode, {name: coarse, kind: recode, options: {levels: 2}}]"
    )
    (data / "two.csv").write_text("filepath,target\npairs/real/1.wav,0\npairs/toygen/1.wav,1\n")
    given = ("--manifest", "two.csv", "--suite", "suite.yaml", "--num-workers", "0")
    run(python, data, "stress", *given, "--detector", "flatness", "--out", "stress")
    rows = {row["perturbation"]: row for row in read_rows(data / "stress" / "stress.csv")}
    assert [*rows] == ["recode", "coarse"]
    libraries = json.loads((data / "stress" / "run.json").read_text())["libraries"]
    assert libraries["plug-in recode"].endswith("of package earwitness-plugin-example 0.1.0")
    assert "plug-in flatness" in libraries
    (path,) = (data / "stress" / "preds" / "coarse").glob("*.csv")
    parameters = [json.loads(row["perturbation_parameters"]) for row in read_rows(path)]
    assert [one["levels"] for one in parameters] == [2, 2]
    assert parameters[0]["weights_seed"] != parameters[1]["weights_seed"]
    run(python, data, "perturb", *given[:4], "--out", "copies")
    assert len(read_rows(data / "copies" / "manifest.csv")) == 4


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_check_is_in_the_audit(python: Path, data: Path) -> None:
    run(python, data, "audit", "--manifest", "set.csv", "--num-workers", "0")
    audit = json.loads((data / "audit" / "audit.json").read_text())
    found = {check["name"]: check["verdict"] for check in audit["checks"]}
    assert found["short_files"] == "finding"


def test_the_layout_lists_its_files(python: Path, data: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from earwitness.datasets.catalog import LAYOUTS, CatalogRequest\n"
        "layout = LAYOUTS.load('pairs')\n"
        "found = layout.list_files(CatalogRequest(Path('pairs'), {0: 8, 1: 8}))\n"
        "print(found.frame.height, found.frame['group_id'].n_unique())"
    )
    done = subprocess.run(
        [python, "-c", code], cwd=data, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["16", "8"]
