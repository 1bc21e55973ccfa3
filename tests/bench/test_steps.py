from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from earwitness.bench.steps import PipelineState, Stage, run_stages, single
from earwitness.core.errors import RunError, StoppedError, UsageError


@dataclass
class Watching:
    """A watcher that keeps a line per call."""

    lines: list[str] = field(default_factory=list)

    def plan(self, stages: Sequence[str]) -> None:
        self.lines.append("plan " + ", ".join(stages))

    def begin(self, stage: str, stale: Mapping[str, str], n_parts: int) -> None:
        assert len(stale) <= n_parts
        self.lines += [f"{stage}/{part}: {reason}" for part, reason in stale.items()]

    def skip(self, stage: str) -> None:
        self.lines.append(f"skip {stage}")

    def end(self, stage: str) -> None:
        self.lines.append(f"end {stage}")


@dataclass
class Kitchen:
    """Two stages: pots, a part each, and the soup made of them."""

    out: Path
    pots: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)
    cooked: list[str] = field(default_factory=list)
    watching: Watching = field(default_factory=Watching)
    trouble: BaseException | None = None

    def cook(self, state: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:
        written = {}
        for part in parts:
            path = state.out / "pots" / f"{part}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.pots[part])
            self.cooked.append(part)
            written[part] = [path]
        return written

    def pour(self, state: PipelineState) -> list[Path]:
        if self.trouble:
            raise self.trouble
        path = state.out / "soup.txt"
        path.write_text(" ".join((state.out / name).read_text() for name in state.files("pots")))
        self.cooked.append("soup")
        return [path]

    def run(self) -> list[str]:
        self.cooked.clear()
        self.watching.lines.clear()
        self.out.mkdir(exist_ok=True)
        pots = Stage("pots", lambda _: {n: {"recipe": v} for n, v in self.pots.items()}, self.cook)
        soup = single("soup", lambda state: state.files("pots") | self.options, self.pour)
        return run_stages([pots, soup], self.out, self.watching)


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    """A kitchen that has cooked once."""
    made = Kitchen(tmp_path / "run", {"a": "leek", "b": "kale"})
    assert made.run() == ["pots", "soup"]
    assert made.cooked == ["a", "b", "soup"]
    assert (made.out / "soup.txt").read_text() == "leek kale"
    return made


def test_the_second_run_has_nothing_to_do(kitchen: Kitchen) -> None:
    before = {p: p.stat().st_mtime_ns for p in kitchen.out.rglob("*")}
    assert kitchen.run() == []
    assert kitchen.cooked == []
    assert kitchen.watching.lines == ["plan pots, soup", "skip pots", "skip soup"]
    assert {p: p.stat().st_mtime_ns for p in kitchen.out.rglob("*")} == before


def test_a_part_that_changed_is_done_alone_and_what_follows_from_it(kitchen: Kitchen) -> None:
    kitchen.pots["b"] = "beet"
    assert kitchen.run() == ["pots", "soup"]
    assert kitchen.cooked == ["b", "soup"]
    assert kitchen.watching.lines[1:3] == ["pots/b: recipe was kale, is beet", "end pots"]
    assert (kitchen.out / "soup.txt").read_text() == "leek beet"


def test_an_option_redoes_its_stage_alone(kitchen: Kitchen) -> None:
    kitchen.options["salt"] = "1"
    assert kitchen.run() == ["soup"]
    assert "soup/: salt is new" in kitchen.watching.lines
    kitchen.options["salt"] = "2"
    assert kitchen.run() == ["soup"]
    kitchen.options.clear()
    kitchen.run()
    assert "soup/: salt is gone" in kitchen.watching.lines


@pytest.mark.parametrize("harm", ["delete", "edit"])
def test_an_output_that_is_gone_or_was_edited_is_made_again(kitchen: Kitchen, harm: str) -> None:
    pot = kitchen.out / "pots" / "a.txt"
    if harm == "delete":
        pot.unlink()
    else:
        pot.write_text("sand")
    assert kitchen.run() == ["pots"]  # the same comes out of it, so nothing follows
    assert kitchen.cooked == ["a"]
    assert pot.read_text() == "leek"
    why = {"delete": "pots/a.txt is missing", "edit": "pots/a.txt was edited"}
    assert f"pots/a: {why[harm]}" in kitchen.watching.lines


def test_removed_parts_are_deleted_with_their_files(kitchen: Kitchen) -> None:
    del kitchen.pots["a"]
    assert kitchen.run() == ["soup"]
    assert not (kitchen.out / "pots" / "a.txt").exists()
    assert (kitchen.out / "soup.txt").read_text() == "kale"
    assert kitchen.run() == []


def test_removed_stages_are_deleted_but_for_files_that_were_edited(kitchen: Kitchen) -> None:
    (kitchen.out / "pots" / "a.txt").write_text("mine now")
    run_stages([], kitchen.out, kitchen.watching)
    assert sorted(p.name for p in kitchen.out.rglob("*")) == ["a.txt", "pots", "stages.json"]


@pytest.mark.parametrize(
    ("trouble", "raised", "match"),
    [
        (UsageError("no salt"), UsageError, "no salt"),
        (KeyboardInterrupt(), StoppedError, "stopped at soup; finished stages are kept in"),
    ],
)
def test_what_is_done_before_trouble_stays_done(
    kitchen: Kitchen, trouble: BaseException, raised: type[BaseException], match: str
) -> None:
    kitchen.pots["a"], kitchen.trouble = "peas", trouble
    with pytest.raises(raised, match=match):
        kitchen.run()
    assert kitchen.cooked == ["a"]
    assert not (kitchen.out / "soup.txt").exists()  # what is out of date does not stay
    kitchen.trouble = None
    assert kitchen.run() == ["soup"]
    assert (kitchen.out / "soup.txt").read_text() == "peas kale"


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", "a/../../b", "..\\b"])
def test_stages_json_cannot_name_files_outside(kitchen: Kitchen, name: str) -> None:
    path = kitchen.out / "stages.json"
    content = json.loads(path.read_text())
    content["stages"]["pots"]["a"]["files"] = {name: "0" * 64}
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match="is outside the run folder"):
        kitchen.run()


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "stages": {}}', '{"version": 1}'])
def test_invalid_stages_json_is_one_line_that_says_what_to_do(kitchen: Kitchen, text: str) -> None:
    (kitchen.out / "stages.json").write_text(text)
    with pytest.raises(RunError, match="delete it to check every stage again"):
        kitchen.run()
    (kitchen.out / "stages.json").unlink()
    assert kitchen.run() == ["pots", "soup"]
