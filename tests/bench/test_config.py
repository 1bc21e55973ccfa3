from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from benches import CONFIG, write_bench
from earwitness.bench.config import (
    BenchConfig,
    SplitsSection,
    read_config,
    write_resolved,
    write_template,
)
from earwitness.bench.sections import EvaluateSection
from earwitness.core.errors import UsageError
from earwitness.evaluation.schema import Settings


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bench(tmp_path_factory.mktemp("a folder"), n_files=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("scoring.window=3", r": scoring\.window: no such key; did you mean 'windows'\?"),
        ("score=1", r": score: no such key; did you mean 'scoring'\?"),
        ("data.manifests.file=x", r"bench\.yaml: data\.manifests\.file: .*mean 'files'\?"),
        ("detectors.1.weight=x", r"bench\.yaml: detectors\.1\.weight: .*mean 'weights'\?"),
        ("scoring.windows=0", r"scoring\.windows: found 0; expected published, all or a whole"),
        ("scoring.windows=many", "found 'many'; expected published, all or a whole number"),
        ("scoring.batch_size=true", "found True; expected auto or a whole number from 1 up"),
        ("scoring.device=tpu", "found 'tpu'; expected auto, cpu, cuda, cuda:N or mps"),
        ("scoring.threshold=1.5", "found 1.5; input should be less than or equal to 1"),
        ("evaluate.resamples=5", "found 5; input should be greater than or equal to 100"),
        ("evaluate.threshold=most", "found 'most'; expected a number from 0 to 1, eer, fpr=0.01"),
        ("evaluate.calibrate=isotonic", "found 'isotonic'; input should be 'temperature' or"),
        ("data.splits.n_fma_real=true", r"data\.splits\.n_fma_real: found True; .* integer"),
        ("data.folder.path=x", r"bench\.yaml:2: data: found folder and manifests, expected one of"),
        ("data={}", "data: found none, expected one of splits, folder, manifests"),
        ("detectors=[]", "detectors: found none, expected one or more"),
        ("detectors.0=fakeprnt", "expected a detector's name, .*; did you mean 'fakeprint'?"),
        ("detectors.0.name=", "name: found None; input should be a valid string"),
    ],
)
def test_a_mistake_is_one_line(bench: Path, change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_config(bench, changes=[change])
    assert str(caught.value).startswith(str(bench))
    assert "\n" not in str(caught.value)


def test_the_line_of_a_mistake_is_that_of_its_key(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(CONFIG + "scorings:\n  windows: 3\nplots: 1\n")
    with pytest.raises(UsageError, match=r"b\.yaml:9: scorings: .* \(and 1 more problems\)$"):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected keys: out, data, detectors"),
        ("hello", "'hello', expected keys"),
        ("out: [x", r":1: no YAML \(expected ',' or '\]'"),
        ("out: x\ndata: 1\nout: y\n", r"b\.yaml:3: out: found a second time"),
        ("detectors:\n- name: a\n  name: b\n", r":3: detectors\.0\.name: found a second"),
        ("!!python/object/apply:os.system [exit]", "no YAML .*could not determine a constructor"),
        ("out: x\n", r"b\.yaml:1: data: found nothing, expected a value \(and 1 more problems\)"),
        ("[" * 5000, "no YAML"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "b.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such file.*; earwitness bench init writes one"):
        read_config(tmp_path / "b.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        read_config(tmp_path / "b.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("out", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("out=[", "the value is no YAML"),
        ("detectors.2.name=x", "2, expected a number from 0 to 1"),
        ("detectors.first.name=x", "first, expected a number from 0 to 1"),
        ("out.deeper.still=1", r"out: found \{'deeper': \{'still': 1\}\}"),
    ],
)
def test_a_change_that_cannot_be_made(bench: Path, change: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_config(bench, changes=[change])


def test_paths_start_from_the_folder_of_the_file(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = read_config(bench, changes=["detectors.1.weights=w", "data.manifests.root=../x"])
    home = bench.parent
    assert config.out == home / "run"
    assert config.data.manifests
    assert config.data.manifests.files == (home / "set.csv",)
    assert config.data.manifests.root == home.parent / "x"
    assert config.detectors[0].name == str(home / "weights" / "one")
    assert config.detectors[1].weights == home / "w"
    assert read_config(bench, out=Path("here")).out == tmp_path / "here"


def test_what_is_resolved_reads_back_the_same_and_starts_from_its_folder(
    bench: Path, tmp_path: Path
) -> None:
    changes = ["scoring.windows=3", "evaluate.by=[artist]", "scoring.threshold=0.25"]
    config = read_config(bench, changes=changes, out=tmp_path)
    write_resolved(config, tmp_path / "bench.yaml")
    assert read_config(tmp_path / "bench.yaml") == config
    moved = tmp_path.parent / f"{tmp_path.name} moved"
    tmp_path.rename(moved)
    assert read_config(moved / "bench.yaml").out == moved


def test_somebodys_own_file_is_not_replaced(bench: Path) -> None:
    config = read_config(bench, out=bench.parent)
    with pytest.raises(UsageError, match="would be replaced by the resolved configuration"):
        write_resolved(config, bench)
    assert bench.read_text() == CONFIG


def test_the_template_loads_and_is_not_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    write_template(path)
    assert read_config(path).data.splits == SplitsSection(root=tmp_path)
    with pytest.raises(UsageError, match="exists, expected a new file; --force"):
        write_template(path)
    write_template(path, force=True)


def test_what_the_template_comments_out_is_known(tmp_path: Path) -> None:
    """Every key is in the template, and every line that it comments out is valid."""
    path = tmp_path / "bench.yaml"
    write_template(path)
    text = path.read_text()
    others = re.compile(r"^  # (folder|manifests|- |  )", re.MULTILINE)
    path.write_text(re.sub(r"^( +)# (\w+: )", r"\1\2", text, flags=re.MULTILINE))
    with pytest.raises(UsageError, match="data: found splits and folder and manifests"):
        read_config(path)
    path.write_text(
        re.sub(r"^( +)# (?!folder|manifests)(\w+: )", r"\1\2", text, flags=re.MULTILINE)
    )
    config = read_config(path)
    assert others.search(text)
    written = yaml.safe_load(path.read_text())
    for name in ("scoring", "audit", "evaluate", "stress", "outputs"):
        assert set(written[name]) == set(type(getattr(config, name)).model_fields)
    assert set(written["data"]["splits"]) == set(SplitsSection.model_fields)
    assert set(written) == set(BenchConfig.model_fields)


def test_evaluate_has_the_defaults_of_the_command() -> None:
    defaults = Settings()
    section = EvaluateSection()
    for name in ("seed", "confidence", "p_fake", "c_miss", "c_false_alarm", "calibrate"):
        assert getattr(section, name) == getattr(defaults, name)
    assert section.resamples == defaults.n_resamples


HOSTILE_YAML = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi")),
    "merged aliases": "a: &a {x: 1}\n"
    + "".join(f"{b}: &{b} {{<<: [{','.join([f'*{a}'] * 9)}]}}\n" for a, b in pairwise("abcdefghi")),
    "itself": "out: &a [*a]\n",
    "a key that is a list": "? [a]\n: 1\n",
    "empty number": "out: !!int _\n",
    "no date": "out: 2001-13-45\n",
    "no timestamp": "out: !!timestamp xx\n",
    "long number": f"seed: {'1' * 5000}\n",
    "deep": "[" * 3000,
    "code": "out: !!python/object/apply:os.getcwd []\n",
    "large": "#" * (1 << 21),
}


@pytest.mark.parametrize("text", HOSTILE_YAML.values(), ids=HOSTILE_YAML)
def test_hostile_yaml_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bench.yaml").write_text(text, "utf-8")
    with pytest.raises(UsageError) as caught:
        read_config(tmp_path / "bench.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))
