"""FNO against that of neuraloperator 2.0.0: same weights, paired in one process; width 32, 16 modes, 64 x 64, batch 8.

python benchmarks/grid_operators.py [--repeats 7] [--no-compile] [--data darcy_train_16.pt --epochs 20]
python benchmarks/grid_operators.py --transforms      # products with matrices against fast transforms

The number of threads is that of OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from environment import describe_environment

from equipoise.nn.truncated_transforms import analyse, synthesise
from equipoise.operators.fno import FNO
from equipoise.training.adam import Adam

MODES, WIDTH, LAYERS, SIDE, BATCH = 16, 32, 4, 64, 8
Step = Callable[[], object]


def ours() -> torch.nn.Module:
    return FNO(in_channels=1, out_channels=1, n_modes=(MODES, MODES), width=WIDTH, n_layers=LAYERS)


def theirs() -> torch.nn.Module:
    from neuralop.models import FNO as Peer

    torch.manual_seed(0)
    return Peer(n_modes=(MODES, MODES), in_channels=1, out_channels=1, hidden_channels=WIDTH, n_layers=LAYERS)


def their_adam(model: torch.nn.Module) -> torch.optim.Optimizer:
    """The optimiser of their examples, which also takes complex weights."""
    from neuralop.training import AdamW

    return AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)


@torch.no_grad()
def copy_weights(operator: torch.nn.Module, peer: torch.nn.Module) -> None:
    """Start both from the same weights, so that errors differ by rounding alone."""
    pairs = [(operator.lifting, peer.lifting), (operator.projection, peer.projection)]
    source = peer.fno_blocks
    for number, block in enumerate(operator.blocks):
        weight = source.convs[number].weight.tensor.movedim((0, 1), (-2, -1))
        block.spectral.weight.weight.copy_(torch.stack([weight.real, weight.imag], -2))
        block.spectral.bias.copy_(source.convs[number].bias.flatten())
        block.skip.weight.copy_(source.fno_skips[number].conv.weight[..., 0])
        block.mlp_skip.weight.copy_(source.channel_mlp_skips[number].weight.flatten())
        pairs.append((block.channel_mlp, source.channel_mlp[number]))
    for network, other in pairs:
        for layer, convolution in zip((network.inner, network.outer), other.fcs, strict=True):
            layer.weight.copy_(convolution.weight[..., 0])
            layer.bias.copy_(convolution.bias)


def forward(model: torch.nn.Module) -> Step:
    inputs = torch.randn(BATCH, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))

    def run() -> object:
        with torch.no_grad():
            return model(inputs)

    return run


def training_step(model: torch.nn.Module, optimiser: torch.optim.Optimizer | None = None) -> Step:
    """With PyTorch's Adam, or another optimiser."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(2, BATCH, 1, SIDE, SIDE, generator=generator)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3) if optimiser is None else optimiser

    def run() -> object:
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        optimiser.step()
        return loss

    return run


def seconds(step: Step, calls: int = 3) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - began) / calls


def paired(name: str, our: Step, their: Step, repeats: int) -> None:
    """One row: medians of both and of their ratio, taken in turn."""
    for _ in range(2):
        seconds(our), seconds(their)
    pairs = [(seconds(our), seconds(their)) for _ in range(repeats)]
    first, second = (1e3 * statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratios = sorted(b / a for a, b in pairs)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    print(f"{name:34s}{first:10.1f}{second:10.1f}{statistics.median(ratios):8.2f}   {spread}", flush=True)


def compare_times(repeats: int, compiled: bool) -> None:
    print(f"{'':34s}{'ours, ms':>10s}{'theirs':>10s}{'ratio':>8s}   of paired repeats")
    operator, peer = ours(), theirs()
    copy_weights(operator, peer)
    difference = float((forward(operator)() - forward(peer)()).abs().max())
    paired("forward", forward(operator), forward(peer), repeats)
    paired("training step, PyTorch's Adam", training_step(operator), training_step(peer), repeats)
    own = training_step(operator, Adam(operator.parameters(), lr=1e-3, weight_decay=1e-4, decoupled=True))
    paired("step, each library's AdamW", own, training_step(peer, their_adam(peer)), repeats)
    if compiled:
        began = time.perf_counter()
        step = training_step(torch.compile(ours()))
        step()
        waited = time.perf_counter() - began
        paired("compiled step, theirs uncompiled", step, training_step(peer), repeats)
        print(f"  ({waited:.0f} s to compile)")
    print(f"largest difference of the answers {difference:.1e}; {sum(p.numel() for p in operator.parameters())} reals")


def compare_memory() -> None:
    """Peak memory of three steps above what the built model holds, each in its own process."""
    for name in ("ours", "theirs"):
        command = [sys.executable, __file__, "--memory-of", name]
        grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        print(f"peak memory of training, {name}: {float(grown):.0f} MiB")


def resident(field: str) -> float:
    """Memory of this process in MiB: `VmRSS` now, `VmHWM` at its peak (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise ValueError(f"{field} is not reported.")


def measure_memory(name: str) -> None:
    model = ours() if name == "ours" else theirs()
    step = training_step(model)
    before = resident("VmRSS")
    for _ in range(3):
        step()
    print(resident("VmHWM") - before)


def compare_errors(path: str, epochs: int) -> None:
    """Mean relative L2 error on the last tenth of the file, after equal epochs from equal weights on equal batches."""
    fields = torch.load(path, weights_only=True)
    inputs, targets = fields["x"].float(), fields["y"].float()
    inputs = inputs[:, None] if inputs.ndim == 3 else inputs
    targets = targets[:, None] if targets.ndim == 3 else targets
    count = len(inputs) * 9 // 10
    inputs = (inputs - inputs[:count].mean()) / inputs[:count].std()
    mean, deviation = targets[:count].mean(), targets[:count].std()

    def relative(model: torch.nn.Module, rows: torch.Tensor) -> torch.Tensor:
        error = model(inputs[rows]) * deviation + mean - targets[rows]
        return (error.flatten(1).norm(dim=1) / targets[rows].flatten(1).norm(dim=1)).mean()

    errors = []
    operator, peer = ours(), theirs()
    copy_weights(operator, peer)
    for model in (operator, peer):
        optimiser = torch.optim.Adam(model.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        shuffle = torch.Generator().manual_seed(0)
        began = time.perf_counter()
        for _ in range(epochs):
            for rows in torch.randperm(count, generator=shuffle).split(16):
                optimiser.zero_grad()
                relative(model, rows).backward()
                optimiser.step()
            schedule.step()
        with torch.no_grad():
            errors.append((float(relative(model, torch.arange(count, len(inputs)))), time.perf_counter() - began))
    (our, our_time), (their, their_time) = errors
    print(f"test error after {epochs} epochs on {count} samples: ours {our:.5f}, theirs {their:.5f}, ", end="")
    print(f"ratio {our / their:.3f}; {our_time:.0f} s against {their_time:.0f} s")


def there_and_back(field: torch.Tensor, modes: int, method: str) -> None:
    """Analyse and synthesise, and their gradient."""
    grid = tuple(field.shape[1:-1])
    n_modes = (modes,) * len(grid)
    found = synthesise(analyse(field, n_modes, method=method), grid, n_modes, method=method)
    torch.autograd.grad(found.sum(), field)
    if field.is_cuda:
        torch.cuda.synchronize()


def compare_transforms(device: torch.device, repeats: int) -> None:
    """Products against fast transforms, for rising numbers of modes."""
    print(f"{'grid':>16s}{'modes':>7s}{'matrix, ms':>12s}{'fft, ms':>10s}{'fft / matrix':>14s}   32 channels, {device}")
    for grid, batch, counts in (
        ((256,), 32, (16, 32, 64, 128, 256)),
        ((1024,), 8, (16, 32, 64, 128, 256)),
        ((64, 64), 8, (8, 16, 32, 64)),
        ((128, 128), 2, (16, 32, 64, 128)),
        ((256, 256), 1, (16, 32, 64, 128)),
        ((32, 32, 32), 1, (8, 16, 32)),
    ):
        field = torch.randn(batch, *grid, 32, device=device, requires_grad=True)
        for modes in counts:
            times = {}
            for method in ("matrix", "fft"):
                run = partial(there_and_back, field, modes, method)
                seconds(run)
                times[method] = 1e3 * statistics.median(seconds(run, 1) for _ in range(repeats))
            name, ratio = " x ".join(map(str, grid)), times["fft"] / times["matrix"]
            print(f"{name:>16s}{modes:7d}{times['matrix']:12.2f}{times['fft']:10.2f}{ratio:14.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--data", help="a file of neuraloperator, {x, y}, to compare test errors on")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--transforms", action="store_true")
    parser.add_argument("--device", default="cpu", help="for --transforms")
    parser.add_argument("--memory-of", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        measure_memory(arguments.memory_of)
        return
    print(describe_environment("neuraloperator"))
    if arguments.transforms:
        compare_transforms(torch.device(arguments.device), arguments.repeats)
        return
    compare_times(max(arguments.repeats, 5), not arguments.no_compile)
    compare_memory()
    if arguments.data:
        compare_errors(arguments.data, arguments.epochs)


if __name__ == "__main__":
    main()
