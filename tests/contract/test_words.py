"""The language of code, docs and README: terms of the field, no private vocabulary."""

from __future__ import annotations

import re

import pytest

from conftest import REPOSITORY

WORDS = {
    r"un?told": "named, reported, given",
    r"told apart|tell(s|ing)? apart": "distinguished",
    r"anew": "again",
    r"hear(s|d|ing|ings)?|unheard": "decode, score, listen to",
    r"judg(e|es|ed|ing)": "score, evaluate",
    r"(takes?|took) offence|offend(s|ed|er|ers|ing)?": "conflict, flag",
    r"(stands?|stood|standing) (beside|in|on|under)|standings": "is in, next to, ranking",
    r"(go|goes|going|went) on": "resume, continue",
    r"(is|are|be|was|were) worth": "measure, performance",
    r"whoever|whatever it takes": "the user, the caller",
    r"(lies?|lay) (in|at|on|below|beside|between|there|under)|lying": "is in, is between",
    r"(made|cried|cry|cries) wolf": "false alarm",
    r"figures?": "metric, value, chart",
    r"hand(ed|s)? (over|out)": "pass, submit",
    r"twins?": "duplicate",
    r"(was|is|are|were) not there": "is missing, no such file",
    r"ledger|scene|shelved?|shelves": "state, context, cache",
    r"drawn? by chance|by and by|as it were": "random",
}
"""Refused words, as regular expressions, and what to write instead."""

ALLOWED = re.compile(
    r"plot_hearing|heard_s"  # public names
    r"|[\"'`.]figures\b|\bfigures(?=: |=| or )|(?<==)figures\b"  # a key of audit.json
    r"|alias=\"\w+\""  # other keys of JSON files
    r"|</?figure"  # the HTML element
)


def sources() -> list[str]:
    """Return code, templates of pages and files, docs, and the README."""
    kinds = {"src": ("py", "html", "yaml"), "docs": ("md",)}
    paths = [REPOSITORY / "README.md"]
    for folder, suffixes in kinds.items():
        paths += [p for end in suffixes for p in (REPOSITORY / folder).rglob(f"*.{end}")]
    return sorted(path.relative_to(REPOSITORY).as_posix() for path in paths)


def refused(line: str) -> list[str]:
    """Return each refused word of a line, with what to write instead."""
    text = ALLOWED.sub("", line)
    return [
        f"{match.group(0)!r}, expected {instead}"
        for words, instead in WORDS.items()
        for match in re.finditer(rf"(?<![a-z])(?:{words})(?![a-z])", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("source", sources())
def test_words_are_terms_of_the_field(source: str) -> None:
    lines = (REPOSITORY / source).read_text(encoding="utf-8").splitlines()
    found = [f"{source}:{n}: {word}" for n, line in enumerate(lines, 1) for word in refused(line)]
    assert not found, "\n".join(found)


def test_words_inside_names_are_found_and_public_names_allowed() -> None:
    assert [word.split(",")[0] for word in refused("is_judged(twins)")] == ["'judged'", "'twins'"]
    assert refused('plot_hearing(result.figures, "figures")') == []
