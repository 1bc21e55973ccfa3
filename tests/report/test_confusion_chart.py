import pytest

from earwitness.core.estimate import Counts
from earwitness.report.charts.matrices import confusion_chart

NARROW = "\u202f"


def spec_of(counts, *, title="m", subtitle="d", normalized=False):
    chart = confusion_chart(counts, title=title, subtitle=subtitle, normalized=normalized)
    return chart.to_dict()


def cells_of(counts, *, normalized=False):
    (cells,) = spec_of(counts, normalized=normalized)["datasets"].values()
    return {(cell["true"], cell["predicted"]): cell for cell in cells}


def texts_of(counts, *, normalized=False):
    cells = cells_of(counts, normalized=normalized)
    return {where: (cell["main"], cell["below"]) for where, cell in cells.items()}


def test_counts_are_in_their_cells():
    assert texts_of(Counts(tp=1937, tn=2, fp=3, fn=1234567)) == {
        ("real", "real"): ("2", ""),
        ("real", "fake"): ("3", ""),
        ("fake", "real"): (f"1{NARROW}234{NARROW}567", ""),
        ("fake", "fake"): (f"1{NARROW}937", ""),
    }


def test_normalized_cells_show_shares_of_their_row_over_counts():
    assert texts_of(Counts(tp=3, tn=1999, fp=1, fn=1), normalized=True) == {
        ("real", "real"): ("> 99.9 %", f"1{NARROW}999"),
        ("real", "fake"): ("< 0.1 %", "1"),
        ("fake", "real"): ("25.0 %", "1"),
        ("fake", "fake"): ("75.0 %", "3"),
    }


@pytest.mark.parametrize("normalized", [False, True])
def test_a_class_without_items_says_so(normalized):
    texts = texts_of(Counts(tp=5, tn=0, fp=0, fn=0), normalized=normalized)
    assert texts["real", "real"] == texts["real", "fake"] == ("no items", "")
    assert texts["fake", "real"][0] in {"0", "0.0 %"}
    every = texts_of(Counts(0, 0, 0, 0), normalized=normalized).values()
    assert set(every) == {("no items", "")}


def test_shade_follows_what_is_written():
    cells = cells_of(Counts(tp=50, tn=200, fp=0, fn=50))
    assert [cell["shade"] for cell in cells.values()] == [1, 0, 0.25, 0.25]
    shares = cells_of(Counts(tp=50, tn=200, fp=0, fn=50), normalized=True)
    assert [cell["shade"] for cell in shares.values()] == [1, 0, 0.5, 0.5]


def test_real_comes_first_on_both_axes():
    encoding = spec_of(Counts(1, 2, 3, 4))["layer"][0]["encoding"]
    for channel, title in (("x", "predicted"), ("y", "true")):
        assert encoding[channel]["sort"] == ["real", "fake"]
        assert encoding[channel]["title"] == title


def test_long_numbers_are_written_smaller():
    cells = cells_of(Counts(tp=123456789012, tn=1, fp=1, fn=1))
    assert cells["fake", "fake"]["size_px"] < cells["real", "real"]["size_px"]


def test_long_names_are_broken_and_nothing_is_lost():
    name = "organisation/" + "model-with_parts." * 9 + "x" * 90 + "长" * 30
    title = spec_of(Counts(1, 1, 1, 1), title=name, subtitle=f"{name}\nn = 4")["title"]
    assert "".join(title["text"]) == name
    assert "".join(title["subtitle"]) == name + "n = 4"
    assert max(map(len, title["text"])) <= 44
    assert max(len(line) for line in title["text"] if "长" in line) < 44
    assert title["text"][0].endswith((".", "_", "-", "/"))


def test_charts_do_not_share_their_data():
    first = confusion_chart(Counts(1, 0, 0, 0), title="a", subtitle="s", normalized=False)
    confusion_chart(Counts(0, 1, 0, 0), title="b", subtitle="s", normalized=False)
    assert first.to_dict()["title"]["text"] == ["a"]
    (cells,) = first.to_dict()["datasets"].values()
    assert cells[0]["main"] == "no items"
