"""Facts of `to_operator`: equal at the training grid, consistent at others, and plain about what it can't convert."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from equipoise.nn.graph_kernel import GridMessagePassing
from equipoise.operators.attention import PatchTransformer
from equipoise.operators.conversion import to_operator
from equipoise.operators.fno import FNO
from equipoise.operators.unet import UNet
from equipoise.spaces.grid import Grid

GRID = Grid((16, 16), (), True)


def _field(n: int, channels: int = 1, dim: int = 2) -> torch.Tensor:
    """A fixed smooth periodic field, float64."""
    points = Grid((n,) * dim, ((0.0, 2 * torch.pi),) * dim, True).points()
    waves = [torch.sin((1 + c) * points[..., 0]) + torch.cos(points[..., -1] - c) for c in range(channels)]
    return torch.stack(waves)[None]


class Functional(nn.Module):
    """Padding, pooling and upsampling by functions, inside control flow."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Conv2d(12, 1, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        skip = F.gelu(self.first(F.pad(inputs, (1, 1, 1, 1), mode="circular")))
        hidden = skip
        for _ in range(2):
            hidden = F.max_pool2d(hidden, 2) if hidden.shape[2] == skip.shape[2] else F.avg_pool2d(hidden, 2)
            hidden = F.gelu(self.second(hidden))
        hidden = F.interpolate(hidden, scale_factor=2)
        hidden = F.interpolate(hidden, size=skip.shape[2:], mode="bilinear")
        return self.last(torch.cat([hidden, skip], 1))


class Table(nn.Module):
    """A transformer with a class token and a learned table of positions that belongs to one grid."""

    def __init__(self, *, n_tokens: int = 16) -> None:
        super().__init__()
        self.embed = nn.Conv2d(1, 8, 4, stride=4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, n_tokens + 1, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.decode = nn.ConvTranspose2d(8, 1, 4, stride=4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        patches = self.embed(inputs)
        tokens = torch.cat([self.token.expand(len(inputs), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        tokens = self.layer(tokens + self.position)[:, 1:]
        return self.decode(tokens.transpose(1, 2).reshape(patches.shape))


class Classifier(nn.Module):
    """Pooling to one value and a linear layer: a functional of the field."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs))


def _networks() -> dict[str, nn.Module]:
    circular = {"padding": 1, "padding_mode": "circular"}
    return {
        "u-net": UNet(in_channels=1, out_channels=1, width=4),
        "u-net, zeros": UNet(in_channels=1, out_channels=1, width=4, padding="zeros"),
        "vision transformer": PatchTransformer(in_channels=1, out_channels=1, shape=(16, 16), width=8, n_layers=1),
        "table of positions": Table(),
        "functions": Functional(),
        "functional of the field": Classifier(),
        "graph": nn.Sequential(GridMessagePassing(in_channels=1, out_channels=2, width=4), nn.Conv2d(2, 1, 1)),
        "even taps": nn.Sequential(nn.Conv2d(1, 3, 4, stride=2, padding=1), nn.Upsample(scale_factor=2)),
        "paddings": nn.Sequential(
            nn.CircularPad2d(2), nn.Conv2d(1, 2, 3, dilation=2), nn.MaxPool2d(2), nn.PixelShuffle(1)
        ),
        "norm with factors": nn.Sequential(nn.Conv2d(1, 2, 3, **circular), nn.LayerNorm((2, 16, 16))),
        "same, grouped": nn.Sequential(nn.Conv2d(1, 4, 3, **circular), nn.Conv2d(4, 4, 5, padding="same", groups=2)),
        "average": nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), nn.AvgPool2d(2), nn.PixelUnshuffle(2)),
    }


@pytest.mark.parametrize("method", ["fixed-offsets", "interpolated-kernels", "resampling"])
@pytest.mark.parametrize("name", list(_networks()))
def test_operator_equals_the_network_at_the_training_grid(name: str, method: str) -> None:
    torch.manual_seed(0)
    network = _networks()[name].double().eval()
    operator = to_operator(network, GRID, method=method)
    inputs = torch.randn(2, 1, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(operator(inputs), network(inputs), rtol=1e-12, atol=1e-12)


class _Plain(nn.Module):
    """A U-Net in small, without norms: strided and transposed convolutions and a skip."""

    def __init__(self) -> None:
        super().__init__()
        options = {"padding": 1, "padding_mode": "circular"}
        self.first, self.down = nn.Conv2d(1, 4, 3, **options), nn.Conv2d(4, 4, 3, stride=2, **options)
        self.up, self.last = (
            nn.ConvTranspose2d(4, 4, 2, stride=2),
            nn.Conv2d(8, 1, 5, padding=2, padding_mode="circular"),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = F.gelu(self.first(inputs))
        return self.last(torch.cat([hidden, self.up(F.gelu(self.down(hidden)))], 1))


@pytest.mark.parametrize("ratio", [2, 3])
@pytest.mark.parametrize("name", ["u-net in small", "functions", "even taps", "average", "paddings"])
def test_fixed_offsets_keep_the_values_at_training_points_on_finer_grids(name: str, ratio: int) -> None:
    """Without means over all points the operator on a finer grid passes through the network's own answers."""
    torch.manual_seed(0)
    network = (_Plain() if name == "u-net in small" else _networks()[name]).double()
    operator = to_operator(network, GRID)
    inputs = torch.randn(1, 1, 16 * ratio, 16 * ratio, dtype=torch.float64)
    with torch.no_grad():
        fine, coarse = operator(inputs), network(inputs[..., ::ratio, ::ratio].contiguous())
    torch.testing.assert_close(fine[..., ::ratio, ::ratio], coarse, rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("name", ["u-net", "vision transformer", "functions"])
def test_coarser_grids_see_the_network_at_the_training_grid(name: str) -> None:
    """A field of few modes on 8 points is the same function on 16: the answers agree where points do."""
    network = _networks()[name].double()
    operator = to_operator(network, GRID)
    coarse, fine = operator(_field(8)), network(_field(16))
    torch.testing.assert_close(coarse, fine[..., ::2, ::2], rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("n", [12, 24, 20])
def test_ratios_that_are_not_whole_interpolate_the_field(n: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False).double()
    grid = Grid((64, 64), (), True)
    operator = to_operator(layer, grid, in_channels=1)
    reference = to_operator(layer, grid, in_channels=1)(_field(64))
    for count, bound in ((4 * n, 3e-4), (n, 0.03)):
        out = operator(_field(count))
        shared = 64 * count // torch.gcd(torch.tensor(64), torch.tensor(count))
        step, other = int(shared) // 64, int(shared) // count
        exact = reference[..., ::other, ::other]
        assert float((out[..., ::step, ::step] - exact).abs().max()) < bound


@pytest.mark.parametrize("dim", [1, 3])
def test_networks_in_one_and_three_dimensions_convert(dim: int) -> None:
    network = UNet(in_channels=2, out_channels=1, dim=dim, width=3, kernel_size=3, multipliers=(1, 2), n_blocks=1)
    operator = to_operator(network, Grid((8,) * dim, (), True))
    with torch.no_grad():
        assert operator(torch.randn(1, 2, *[16] * dim)).shape == (1, 1, *[16] * dim)
        assert operator(torch.randn(1, 2, *[12] * dim)).shape == (1, 1, *[12] * dim)


def test_grids_with_both_ends_keep_them() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(1, 3, 3, padding=1, stride=2), nn.GELU(), nn.Conv1d(3, 1, 3, padding=1)).double()
    operator = to_operator(network, Grid((17,)))
    inputs = torch.randn(1, 1, 33, dtype=torch.float64)
    with torch.no_grad():
        fine, coarse = operator(inputs), network(inputs[..., ::2].contiguous())
    torch.testing.assert_close(fine[..., ::2], coarse, rtol=1e-12, atol=1e-12)


def test_all_changes_are_named_and_the_network_is_left_as_it_was() -> None:
    network = Table()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    operator = to_operator(network, GRID)
    named = {(change.path, change.before) for change in operator.changes}
    assert named == {("embed", "Conv2d"), ("decode", "ConvTranspose2d"), ("", "parameter position")}
    assert all(path in str(operator) for path in ("embed", "decode", "position"))
    assert set(network.state_dict()) == set(before)
    assert operator.consistency_gap is not None
    functions = {change.before for change in to_operator(Functional(), GRID).changes}
    assert {"functional.pad", "functional.max_pool2d", "functional.avg_pool2d", "functional.interpolate"} <= functions
    assert sum(p.numel() for p in operator.parameters()) == sum(p.numel() for p in network.parameters())


class Unknown(nn.Module):
    """Mixes points by a matrix of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.einsum("oi,bixy->boxy", self.matrix, inputs)


def test_everything_that_cannot_be_converted_is_named_with_its_type() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), Unknown(), nn.Flatten(), nn.Linear(4 * 256, 7), nn.Linear(7, 2)
    )
    with pytest.raises(ValueError) as refused:
        to_operator(network, GRID)
    message = str(refused.value)
    assert "2 layers can't be converted" in message
    assert "1 (Unknown) calls einsum" in message
    assert "3 (Linear) takes 1024 values and gets 4096" in message
    kept = to_operator(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), Unknown()), GRID, keep=(Unknown,))
    assert len(kept.changes) == 1


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Unfold(2), "cuts the grid"),
        (nn.Conv1d(1, 1, 3), "works on 1 axes"),
        (nn.LPPool2d(2, 2), "no rule"),
        (nn.MaxPool2d(2, return_indices=True), "returns indices"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 3)), "parametrised"),
        (nn.Unflatten(2, (4, 4)), "fails at another resolution"),
    ],
)
def test_layers_without_a_rule_are_refused(layer: nn.Module, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        to_operator(nn.Sequential(layer), GRID, in_channels=1)


class Rolled(nn.Module):
    """Shifts by points, and convolves by a function with weights of its own."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.weight = kind, nn.Parameter(torch.randn(1, 1, 3, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.roll(inputs, 1, -1) if self.kind == "roll" else F.conv2d(inputs, self.weight, padding=1)


@pytest.mark.parametrize("kind", ["roll", "conv2d"])
def test_functions_that_count_points_are_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"0 .Rolled. calls {kind}"):
        to_operator(nn.Sequential(Rolled(kind)), GRID, in_channels=1)


class Sliced(nn.Module):
    """Reads the first points of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, 1, 20, 16))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs + self.table[:, :, : inputs.shape[2]]


class Windows(nn.Module):
    """Attention within blocks of four points, cut by `view`: nothing in its calls counts points."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attention = nn.Conv2d(1, 8, 1), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        field = self.embed(inputs)
        batch, width, height, breadth = field.shape
        blocks = field.view(batch, width, height // 4, 4, breadth // 4, 4).permute(0, 2, 4, 3, 5, 1)
        tokens = blocks.reshape(-1, 16, width)
        mixed = self.attention(tokens, tokens, tokens)[0].view(blocks.shape)
        return mixed.permute(0, 5, 1, 3, 2, 4).reshape(field.shape)


def test_blocks_cut_by_view_show_in_the_gap_alone() -> None:
    torch.manual_seed(0)
    gap = to_operator(Windows(), GRID).consistency_gap
    assert gap is not None
    assert gap > 0.05
    convolution = to_operator(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), GRID, in_channels=1)
    assert convolution.consistency_gap == 0.0


def test_a_table_whose_layout_is_unknown_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"1 \(Sliced\) fails at another resolution"):
        to_operator(nn.Sequential(nn.Identity(), Sliced()), GRID, in_channels=1)


def test_resolutions_that_strides_do_not_divide_are_refused_with_those_that_they_do() -> None:
    operator = to_operator(_Plain(), GRID)
    with pytest.raises(ValueError, match="take a multiple of 2"):
        operator(torch.zeros(1, 1, 17, 17))
    with pytest.raises(ValueError, match="2 axes"):
        operator(torch.zeros(1, 1, 16))
    padded = to_operator(nn.Sequential(nn.CircularPad2d(1), nn.Conv2d(1, 1, 3)), GRID)
    with pytest.raises(ValueError, match="use a multiple of 16 intervals"):
        padded(torch.zeros(1, 1, 24, 24))


def test_wrong_method_or_channels_are_named() -> None:
    with pytest.raises(ValueError, match="in_channels"):
        to_operator(UNet(in_channels=2, out_channels=1, width=4), GRID, in_channels=3)


@torch.no_grad()
def test_converted_u_net_is_nearer_to_itself_than_the_original_under_refinement() -> None:
    torch.manual_seed(0)
    network = UNet(in_channels=1, out_channels=1, width=4).double()
    operator = to_operator(network, GRID)
    coarse = network(_field(16))
    gaps = [float((model(_field(32))[..., ::2, ::2] - coarse).norm()) for model in (operator, network)]
    assert gaps[0] < gaps[1] / 5


def test_gradients_flow_to_the_same_parameters() -> None:
    network = Table()
    operator = to_operator(network, GRID)
    operator(torch.randn(1, 1, 32, 32)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in operator.parameters())
    double = to_operator(nn.Conv2d(1, 1, 3, padding=1).double(), Grid((4, 4), (), True), in_channels=1)
    inputs = torch.randn(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(double, inputs)


@torch.no_grad()
@pytest.mark.parametrize("make", [Table, Functional])
def test_operator_exports_at_another_resolution_and_can_be_copied(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    operator = to_operator(make(), GRID).eval()
    inputs = torch.randn(1, 1, 32, 32)
    program = torch.export.export(operator, (inputs,))
    torch.testing.assert_close(program.module()(inputs), operator(inputs))
    copied = copy.deepcopy(operator)
    copied.load_state_dict(operator.state_dict())
    torch.testing.assert_close(copied(inputs), operator(inputs))


def test_operators_inside_a_network_are_left_as_they_are() -> None:
    fno = FNO(in_channels=1, out_channels=2, n_modes=(6, 6), width=4, n_layers=2)
    operator = to_operator(nn.Sequential(fno, nn.Conv2d(2, 1, 3, padding=1, padding_mode="circular")), GRID)
    assert [change.path for change in operator.changes] == ["1"]
    assert operator.consistency_gap is not None
    assert operator.consistency_gap < 0.01
