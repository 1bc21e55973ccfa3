import os
import subprocess
import sys
import threading

import pytest

from earwitness.audio.decode import capture_stderr


def test_what_is_written_inside_is_kept_from_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with capture_stderr() as remarks:
        os.write(2, b"first\n\n[lib] error:\tlast \n")
        assert remarks() == "[lib] error: last"
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_blocks_nest(capfd: pytest.CaptureFixture[str]) -> None:
    with capture_stderr() as outer:
        with capture_stderr():
            os.write(2, b"inner")
        os.write(2, b" outer")
        assert outer() == "inner outer"
    assert capfd.readouterr().err == ""


def test_descriptor_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), capture_stderr():
        raise KeyError
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_remarks_are_short_and_printable() -> None:
    with capture_stderr() as remarks:
        os.write(2, b"\x07\xff" + b"x" * 1000)
        assert len(remarks()) == 120
        assert remarks().isprintable()


def test_a_progress_bar_of_the_same_process_is_no_remark() -> None:
    with capture_stderr() as remarks:
        os.write(2, b"\x1b[2Kscoring \x1b[90m 3/40\r\n")
        assert remarks() == ""


def test_remarks_of_several_threads_are_not_mixed_up(capfd: pytest.CaptureFixture[str]) -> None:
    both_in, heard = threading.Barrier(2), []

    def work() -> None:
        with capture_stderr() as remarks:
            both_in.wait()
            os.write(2, b"whose?")
            heard.append(remarks())
            both_in.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard == ["", ""]
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_closed_descriptor_stays_closed() -> None:
    script = """
import os
from earwitness.audio.decode import capture_stderr
os.close(2)
for _ in range(3):
    with capture_stderr() as remarks:
        os.write(2, b"said")
        assert remarks() == "said"
    try:
        os.fstat(2)
    except OSError:
        continue
    raise SystemExit(1)
print("closed")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "closed\n")
