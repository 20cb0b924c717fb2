"""Training in several processes, and training that is killed: the weights are those of one undisturbed process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

_SCRIPT = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from torch import nn
from equipoise.data.field_dataset import FieldDataset
from equipoise.data.split import Split
from equipoise.nn.initialisation import seeded
from equipoise.spaces import Grid
from equipoise.training.operators import train_operator

target, state, resume, pause = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "resume", float(sys.argv[4])
torch.set_num_threads(1)
grid = Grid((16,), periodic=True)
noise = torch.randn(41, 1, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
data = FieldDataset(noise, noise.roll(1, -1) * noise, grid)
with seeded(0):
    network = nn.Sequential(
        nn.Conv1d(1, 8, 5, padding=2, padding_mode="circular"), nn.GELU(), nn.Dropout(DROPOUT), nn.Conv1d(8, 1, 1)
    ).double()

def wait(row):
    import time
    time.sleep(pause)

trained = train_operator(
    network, data, split=Split(tuple(range(33)), tuple(range(33, 41))), epochs=12, batch_size=10, accumulate=2,
    clip_norm=0.5, checkpoint=state, checkpoint_every=1, resume=resume, on_row=wait,
)
import os
if int(os.environ.get("RANK", "0")) == 0:
    save_file({name: value.contiguous() for name, value in trained.model.state_dict().items()}, target)
"""

_LEAVING = """
import torch
from torch import nn
from equipoise.training.acceleration import accelerate

torch.set_num_threads(1)
processes = accelerate()
assert processes.processes == 4
model = processes.wrap(nn.Linear(4, 4))
for _ in range(30):
    processes.backward(model(torch.ones(2, 4)).sum())
processes.mean(torch.ones(3))
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}


def _run(
    folder: Path, name: str, *launcher: str, dropout: float = 0.0, resume: bool = False
) -> dict[str, torch.Tensor]:
    script = folder / "training.py"
    script.write_text(_SCRIPT.replace("DROPOUT", str(dropout)))
    words = [str(folder / name), str(folder / f"{name}.state"), "resume" if resume else "fresh", "0"]
    done = subprocess.run(
        [sys.executable, *launcher, str(script), *words],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return load_file(folder / name)


def test_two_processes_train_to_the_weights_of_one(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    one = _run(tmp_path, "one")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    two = _run(tmp_path, "two", *launcher)
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-10, atol=1e-12), name


def test_processes_that_leave_right_after_an_exchange_end_well(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    script = tmp_path / "leaving.py"
    script.write_text(_LEAVING)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4")
    done = subprocess.run(
        [sys.executable, *launcher, str(script)], env=_environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = _run(tmp_path, "whole", dropout=0.3)
    target, state = tmp_path / "killed", tmp_path / "killed.state"
    script = tmp_path / "training.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(target), str(state), "fresh", "0.2"], env=_environment()
    )
    deadline = time.monotonic() + 60
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not target.exists()
    resumed = _run(tmp_path, "killed", dropout=0.3, resume=True)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
