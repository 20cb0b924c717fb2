"""Files on a full disk: the sentence names the file, nothing half-written remains, and what is done can go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from equipoise.data import read_fields
from equipoise.data.whole_files import whole_file, write_whole

_LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from equipoise.cli.main import main
main(sys.argv[2:])
"""


def limited(size: int, *words: object) -> subprocess.CompletedProcess[str]:
    """The command line where no file may grow beyond so many bytes, as on a disk that is nearly full."""
    command = [sys.executable, "-c", _LIMITED, str(size), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
@pytest.mark.parametrize("size", [20_000, 90_000])
def test_a_generation_on_a_full_disk_loses_no_finished_part(tmp_path: Path, size: int) -> None:
    file = tmp_path / "darcy.h5"
    words = ("generate", "darcy", "-n", 40, "--resolution", 17, "--solver", "direct", "-o", file)
    stopped = limited(size, *words)
    assert stopped.returncode == 2
    chosen, sentence = stopped.stderr.splitlines()
    assert chosen.startswith("solver direct")
    assert "darcy.h5" in sentence
    assert not file.exists()
    assert not list(tmp_path.rglob("*.unfinished"))
    assert len(list(tmp_path.rglob("*.safetensors"))) == (0 if size == 20_000 else 3)
    assert limited(10**8, *words, "--resume").returncode == 0
    assert len(read_fields(file)) == 40


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_whole(path, b"old")

    def stopped() -> None:
        with whole_file(path) as scratch:
            scratch.write_bytes(b"half of the new")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="kept"), whole_file(path):
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"old"
