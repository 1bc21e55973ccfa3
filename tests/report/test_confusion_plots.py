import struct

from earwitness.core.estimate import ComparisonRow, Counts
from earwitness.report.comparison import plot_confusions

COUNTS = Counts(tp=10, tn=20, fp=3, fn=4)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def size_of(path):
    """Width and height out of a PNG's header."""
    head = path.read_bytes()[:24]
    assert head.startswith(SIGNATURE)
    return struct.unpack(">II", head[16:24])


def test_one_picture_a_row_and_two_with_normalized(tmp_path):
    rows = [ComparisonRow("org/a", "d", COUNTS), ComparisonRow("b@x", "d", Counts(0, 0, 0, 0))]
    written = plot_confusions(rows, tmp_path / "new")
    assert [path.name for path in written] == ["d__org_a.png", "d__b_x.png"]
    written = plot_confusions(rows, tmp_path / "both", normalized=True)
    assert [path.name for path in written] == [
        "d__org_a.png",
        "d__org_a__normalized.png",
        "d__b_x.png",
        "d__b_x__normalized.png",
    ]
    assert sorted(written) == sorted((tmp_path / "both").iterdir())
    assert written[0].read_bytes() != written[1].read_bytes()


def test_pictures_are_large_enough_for_print_and_the_same_each_time(tmp_path):
    row = ComparisonRow("a", "d", COUNTS)
    (first,) = plot_confusions([row], tmp_path / "1")
    (again,) = plot_confusions([row], tmp_path / "2")
    assert min(size_of(first)) > 600
    assert first.read_bytes() == again.read_bytes()


def test_long_names_make_the_picture_larger_not_cut(tmp_path):
    short, long = plot_confusions(
        [ComparisonRow("a", "d", COUNTS), ComparisonRow("word-" * 40, "long_" * 60, COUNTS)],
        tmp_path,
    )
    assert size_of(long)[1] > size_of(short)[1] + 100
    assert size_of(long)[0] >= size_of(short)[0]
    assert len(long.name.encode()) < 200


def test_names_that_collide_get_pictures_of_their_own(tmp_path):
    names = ("a/b", "a__b", "A/B", "a/b__2", "a/b__normalized")
    written = plot_confusions([ComparisonRow(name, "d", COUNTS) for name in names], tmp_path)
    assert [path.name for path in written] == [
        "d__a_b.png",
        "d__a__b.png",
        "d__A_B__2.png",
        "d__a_b__2__2.png",
        "d__a_b__normalized__2.png",
    ]
    assert len(list(tmp_path.iterdir())) == len(names)


def test_a_name_cannot_leave_the_folder(tmp_path):
    (path,) = plot_confusions([ComparisonRow("../../m", "..\\d:", COUNTS)], tmp_path / "out")
    assert path.parent == tmp_path / "out"
    assert list(tmp_path.rglob("*.png")) == [path]


def test_no_rows_no_pictures(tmp_path):
    assert plot_confusions([], tmp_path, normalized=True) == []
