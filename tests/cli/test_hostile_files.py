"""Files that state far more than they hold, through the whole command: one line, little memory."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from spectttra_folders import write_folder

MOST_MIB = 700
"""Peak memory of a command; importing PyTorch alone takes 350 MiB."""

_MEASURED = """
import sys
from pathlib import Path
from earwitness.cli import main
try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    Path(sys.argv[0]).write_text(status.partition("VmHWM:")[2].split()[0])
"""

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc"
)


class Outcome(NamedTuple):
    """Exit code, lines on stderr and peak memory of a command."""

    code: int
    lines: list[str]
    peak_mib: float


def run(folder: Path, *arguments: object) -> Outcome:
    """Run a command in a process of its own, whose peak is its own since it began."""
    peak = folder / "peak"
    start = f"import sys; sys.argv[0] = {str(peak)!r}\n"
    done = subprocess.run(
        [sys.executable, "-c", start + _MEASURED, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stderr.splitlines(), int(peak.read_text()) / 1024)


def refuses(outcome: Outcome, told: str) -> bool:
    """Whether a command ended with exit code 2, one line and little memory."""
    code, lines, peak_mib = outcome
    return code == 2 and len(lines) == 1 and told in lines[0] and peak_mib < MOST_MIB


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """15 GiB in a file of a few kilobytes: a tensor whose stride is 0."""
    path = tmp_path / "stride0.pth"
    torch.save({"fc.weight": torch.zeros(1).expand(15 << 28), "fc.bias": torch.zeros(2)}, path)
    return path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    path.write_text("filepath,target\na.wav,0\n")
    return path


def test_predict_refuses_weights_of_stride_zero(
    tmp_path: Path, weights: Path, manifest: Path
) -> None:
    folder = write_folder(tmp_path / "sonics-spectttra-gamma-5s")
    weights.replace(folder / "pytorch_model.bin")
    asked = ("--manifest", manifest, "--detector", folder, "--out", "p.csv")
    assert refuses(run(tmp_path, "predict", *asked), "pytorch_model.bin: ")


def test_predict_refuses_a_bare_file_of_stride_zero(
    tmp_path: Path, weights: Path, manifest: Path
) -> None:
    asked = ("--manifest", manifest, "--detector", "resnet18", "--out", "p.csv")
    assert refuses(run(tmp_path, "predict", *asked, "--weights", weights), "stride0.pth: ")


def test_classify_refuses_weights_of_stride_zero(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "t.csv").write_text("img_path,actual_output,predicted_output\na.png,,\n")
    asked = ("--weights", weights, "--csv", "t.csv", "--base", ".")
    outcome = run(tmp_path, "classify", *asked, "--classes", "deepfake,original")
    assert refuses(outcome, "stride0.pth: ")


def test_a_bench_file_of_nested_aliases_is_refused(tmp_path: Path) -> None:
    names = "abcdefgh"
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for inner, outer in itertools.pairwise(names):
        lines.append(f"{outer}: &{outer} [{','.join([f'*{inner}'] * 9)}]")
    (tmp_path / "bench.yaml").write_text("\n".join(lines))
    outcome = run(tmp_path, "bench", "run", "bench.yaml")
    assert refuses(outcome, "values, aliases expanded")
