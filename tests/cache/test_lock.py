import json
import os
import signal
import threading
import time

import pytest

from lefcache.cache.lock import exclusive
from lefcache.errors import BusyError, LefError, StorageError


def holder(root, name):
    """The process that says it has a lock."""
    return json.loads((root / ".locks" / f"{name}.json").read_text())["pid"]


def test_a_second_holder_is_told_who_has_it_and_since_when(tmp_path):
    with (
        exclusive(tmp_path, "a+b+train"),
        pytest.raises(BusyError, match=r"a/b/train \(process \d+ of .* on .*, since \d{4}-"),
        exclusive(tmp_path, "a+b+train"),
    ):
        pass


def test_another_thread_is_another_holder(tmp_path):
    caught = []

    def other():
        try:
            with exclusive(tmp_path, "x"):
                pass
        except BusyError as error:
            caught.append(str(error))

    with exclusive(tmp_path, "x"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert str(os.getpid()) in caught[0]


def test_locks_of_different_names_do_not_meet(tmp_path):
    with exclusive(tmp_path, "a"), exclusive(tmp_path, "b"):
        for name in ("a", "b"):
            with pytest.raises(BusyError), exclusive(tmp_path, name):
                pass


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path, "a"):
        _ = 1 / 0
    with exclusive(tmp_path, "a"):
        pass


def test_waiting_ends_when_the_holder_does(tmp_path):
    held, left = threading.Event(), []

    def other():
        with exclusive(tmp_path, "a"):
            held.set()
            time.sleep(0.2)
            left.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    with exclusive(tmp_path, "a", wait=10):
        assert left == ["other"]
    thread.join()


def test_the_lock_of_a_killed_process_is_free(tmp_path, python):
    killed = python(
        "import os, signal, sys; from pathlib import Path\n"
        "from lefcache.cache.lock import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'a'): os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert holder(tmp_path, "a") != os.getpid()  # it never came to leave
    with exclusive(tmp_path, "a"):
        assert holder(tmp_path, "a") == os.getpid()


def test_a_holder_who_has_left_no_name_is_still_a_holder(tmp_path):
    with exclusive(tmp_path, "a"):
        (tmp_path / ".locks/a.json").write_text("torn {")
        with pytest.raises(BusyError, match="only just started"), exclusive(tmp_path, "a"):
            pass


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--cache"), exclusive(tmp_path / "file", "a"):
        pass
    assert issubclass(StorageError, LefError)


def test_what_the_holder_raises_passes_through_unchanged(tmp_path):
    with pytest.raises(OSError, match=r"^mine$"), exclusive(tmp_path, "a"):
        raise OSError("mine")


def test_a_user_without_a_name_can_hold_a_lock(tmp_path, monkeypatch):
    def nobody():
        raise ImportError("no module named pwd")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.delattr("os.getuid")
    busy = pytest.raises(BusyError, match="of somebody on")
    with exclusive(tmp_path, "a"), busy, exclusive(tmp_path, "a"):
        pass
