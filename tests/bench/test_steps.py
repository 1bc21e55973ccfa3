from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from earwitness.bench.steps import PipelineState, Stage, run_stages
from earwitness.core.errors import RunError, StoppedError, UsageError


@dataclass
class Watching:
    """What a watcher was told."""

    told: list[str] = field(default_factory=list)

    def plan(self, stages: Sequence[str]) -> None:
        self.told.append("plan " + ", ".join(stages))

    def begin(self, stage: str, stale: Mapping[str, str], n_parts: int) -> None:
        assert len(stale) <= n_parts
        self.told += [f"{stage}/{part}: {reason}" for part, reason in stale.items()]

    def skip(self, stage: str) -> None:
        self.told.append(f"skip {stage}")

    def end(self, stage: str) -> None:
        self.told.append(f"end {stage}")


@dataclass
class Kitchen:
    """Two stages: pots, a part each, and the soup made of them."""

    out: Path
    pots: dict[str, str]
    options: dict[str, str] = field(default_factory=dict)
    cooked: list[str] = field(default_factory=list)
    watching: Watching = field(default_factory=Watching)
    trouble: BaseException | None = None

    def cook(self, ledger: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:
        left = {}
        for part in parts:
            path = ledger.out / "pots" / f"{part}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.pots[part])
            self.cooked.append(part)
            left[part] = [path]
        return left

    def pour(self, ledger: PipelineState, parts: Sequence[str]) -> dict[str, Sequence[Path]]:
        assert list(parts) == [""]
        if self.trouble:
            raise self.trouble
        path = ledger.out / "soup.txt"
        path.write_text(" ".join((ledger.out / name).read_text() for name in ledger.files("pots")))
        self.cooked.append("soup")
        return {"": [path]}

    def run(self) -> list[str]:
        self.cooked.clear()
        self.watching.told.clear()
        self.out.mkdir(exist_ok=True)
        pots = Stage("pots", lambda _: {n: {"recipe": v} for n, v in self.pots.items()}, self.cook)
        soup = Stage("soup", lambda led: {"": led.files("pots") | self.options}, self.pour)
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
    assert kitchen.watching.told == ["plan pots, soup", "skip pots", "skip soup"]
    assert {p: p.stat().st_mtime_ns for p in kitchen.out.rglob("*")} == before


def test_a_part_that_changed_is_done_alone_and_what_follows_from_it(kitchen: Kitchen) -> None:
    kitchen.pots["b"] = "beet"
    assert kitchen.run() == ["pots", "soup"]
    assert kitchen.cooked == ["b", "soup"]
    assert kitchen.watching.told[1:3] == ["pots/b: recipe was kale, is beet", "end pots"]
    assert (kitchen.out / "soup.txt").read_text() == "leek beet"


def test_an_option_redoes_its_stage_alone(kitchen: Kitchen) -> None:
    kitchen.options["salt"] = "1"
    assert kitchen.run() == ["soup"]
    assert "soup/: salt is new" in kitchen.watching.told
    kitchen.options["salt"] = "2"
    assert kitchen.run() == ["soup"]
    kitchen.options.clear()
    kitchen.run()
    assert "soup/: salt is gone" in kitchen.watching.told


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
    why = {"delete": "pots/a.txt is not there", "edit": "pots/a.txt is not what was written"}
    assert f"pots/a: {why[harm]}" in kitchen.watching.told


def test_parts_that_are_gone_leave_with_their_files(kitchen: Kitchen) -> None:
    del kitchen.pots["a"]
    assert kitchen.run() == ["soup"]
    assert not (kitchen.out / "pots" / "a.txt").exists()
    assert (kitchen.out / "soup.txt").read_text() == "kale"
    assert kitchen.run() == []


def test_stages_that_are_gone_leave_but_for_files_that_were_edited(kitchen: Kitchen) -> None:
    (kitchen.out / "pots" / "a.txt").write_text("mine now")
    run_stages([], kitchen.out, kitchen.watching)
    assert sorted(p.name for p in kitchen.out.rglob("*")) == ["a.txt", "pots", "stages.json"]


@pytest.mark.parametrize(
    ("trouble", "raised", "match"),
    [
        (UsageError("no salt"), UsageError, "no salt"),
        (KeyboardInterrupt(), StoppedError, "stopped at soup; what is finished is kept in"),
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
def test_a_ledger_cannot_name_files_outside(kitchen: Kitchen, name: str) -> None:
    ledger = kitchen.out / "stages.json"
    content = json.loads(ledger.read_text())
    content["stages"]["pots"]["a"]["files"] = {name: "0" * 64}
    ledger.write_text(json.dumps(content))
    with pytest.raises(RunError, match="lies outside the run folder"):
        kitchen.run()


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "stages": {}}', '{"version": 1}'])
def test_a_ledger_that_cannot_be_read_is_told(kitchen: Kitchen, text: str) -> None:
    (kitchen.out / "stages.json").write_text(text)
    with pytest.raises(RunError, match="delete it, and every stage is looked at anew"):
        kitchen.run()
    (kitchen.out / "stages.json").unlink()
    assert kitchen.run() == ["pots", "soup"]
