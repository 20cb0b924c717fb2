"""Facts of `to_operator`: equal at the training grid, consistent at others, and plain about what it can't convert."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

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
    """Attention within blocks of four points, or within a fixed number of blocks, cut by `view`."""

    def __init__(self, *, cut: str = "view", fixed: str = "points") -> None:
        super().__init__()
        self.cut, self.fixed = cut, fixed
        self.embed, self.attention = nn.Conv2d(1, 8, 1), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        field = self.embed(inputs)
        batch, width, height, breadth = field.shape
        h, w = (4, 4) if self.fixed == "points" else (height // 4, breadth // 4)
        if self.cut == "view":
            blocks = field.view(batch, width, height // h, h, breadth // w, w).permute(0, 2, 4, 3, 5, 1)
        elif self.cut == "channels last":
            last = field.permute(0, 2, 3, 1).reshape(batch, height // h, h, breadth // w, w, width)
            blocks = last.permute(0, 1, 3, 2, 4, 5).contiguous()
        else:
            blocks = field.unflatten(3, (breadth // w, w)).unflatten(2, (height // h, h)).permute(0, 2, 4, 3, 5, 1)
        tokens = blocks.reshape(-1, h * w, width)
        mixed = self.attention(tokens, tokens, tokens)[0].view(blocks.shape)
        return mixed.permute(0, 5, 1, 3, 2, 4).reshape(field.shape)


@pytest.mark.parametrize("cut", ["view", "channels last", "unflatten"])
@pytest.mark.parametrize("method", ["fixed-offsets", "interpolated-kernels"])
def test_windows_cut_in_tensor_form_are_refused_by_name(cut: str, method: str) -> None:
    network = nn.Sequential(nn.Identity(), Windows(cut=cut))
    with pytest.raises(ValueError, match=r"1 \(Windows\) cuts 16 points into windows of 4 by .*method='resampling'"):
        to_operator(network, GRID, in_channels=1, method=method)
    assert to_operator(network, GRID, in_channels=1, method="resampling")(_field(32).float()).shape[2:] == (32, 32)


def test_a_fixed_number_of_windows_keeps_its_share_of_the_box_and_is_taken() -> None:
    torch.manual_seed(0)
    network = Windows(fixed="number")
    gaps = [to_operator(network, Grid((n, n), (), True)).consistency_gap or 1.0 for n in (16, 32)]
    assert gaps[1] < 0.6 * gaps[0] < 0.05


def test_windows_of_a_class_that_is_kept_are_its_own_affair_and_show_in_the_gap() -> None:
    torch.manual_seed(0)
    gap = to_operator(nn.Sequential(Windows()), GRID, in_channels=1, keep=(Windows,)).consistency_gap
    assert gap is not None
    assert gap > 0.05
    convolution = to_operator(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), GRID, in_channels=1)
    assert convolution.consistency_gap == 0.0


class Merging(nn.Module):
    """Four phases of the points as channels, by slices, as windows are merged; and back by `reshape`."""

    def __init__(self, *, back: bool) -> None:
        super().__init__()
        self.back, self.mix = back, nn.Conv2d(4, 4, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not self.back:
            phases = [inputs[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
            return F.interpolate(self.mix(torch.cat(phases, 1)), scale_factor=2)
        batch, _, height, width = inputs.shape
        mixed = self.mix(inputs.expand(-1, 4, -1, -1)).view(batch, 1, 2, 2, height, width)
        fine = mixed.permute(0, 1, 4, 2, 5, 3).reshape(batch, 1, 2 * height, 2 * width)
        return F.avg_pool2d(fine, 2)


def test_phases_of_points_taken_by_slices_or_placed_by_reshape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(Merging\) takes one point in 2 by a slice"):
        to_operator(Merging(back=False), GRID, in_channels=1)
    with pytest.raises(ValueError, match=r"\(Merging\) places 2 values at each point of a coarser grid by reshape"):
        to_operator(Merging(back=True), GRID, in_channels=1)


class Picking(nn.Module):
    """A network that changes its field by a function of the user's."""

    def __init__(self, pick: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.pick, self.mix = pick, nn.Conv2d(1, 1, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.pick(self.mix(inputs))


ORDER = torch.arange(16).flip(0)
PICKS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gathers points by an index (index_select)": lambda x: x.index_select(2, ORDER),
    "gathers points by an index (__getitem__)": lambda x: x[..., ORDER],
    "gathers points by an index (gather)": lambda x: x.gather(-1, torch.zeros(1, 1, 4, 4, dtype=torch.int64)),
    "gathers points by an index (take_along_dim)": lambda x: torch.take_along_dim(x, ORDER[None, None, None], dim=3),
    "gathers points by a mask (__getitem__)": lambda x: x - x[x > 0].mean(),
    "writes points by an index (index_add)": lambda x: x.index_add(2, ORDER, x[:, :, :16]),
    "subtracts neighbouring points (diff)": lambda x: x.diff(dim=2),
    "sums point after point (cumsum)": lambda x: x.cumsum(-1),
    "takes a number of points (topk)": lambda x: x - x.topk(3)[0].mean(-1, keepdim=True),
    "leaves out 1 of 16 points by a slice": lambda x: x[:, :, 1:] - x[:, :, :-1],
    "takes 4 of 16 points by a slice": lambda x: x - x[..., :4].mean(),
    "takes 2 of 16 points by a slice": lambda x: x - x.narrow(3, 0, 2).mean(),
    "takes 3 of 16 points by a slice": lambda x: x - x.narrow(start=-3, dim=2, length=3).mean(),
    "takes point 5 of 16 by its number": lambda x: x - x[:, :, 0, 5].mean(),
    "takes point 3 of 16 by its number": lambda x: x - x.select(index=3, dim=2)[:, :, None],
}


@pytest.mark.parametrize("reason", PICKS)
def test_points_taken_by_their_number_are_refused(reason: str) -> None:
    with pytest.raises(ValueError, match=rf"1 \(Picking\) {re.escape(reason)}: it counts points"):
        to_operator(nn.Sequential(nn.Identity(), Picking(PICKS[reason])), GRID, in_channels=1)


@pytest.mark.parametrize(
    "pick",
    [
        lambda x: x - x[..., :1],
        lambda x: x - x[:, :, -1:] * x[..., 0, 0][..., None, None],
        lambda x: x * x[..., : x.shape[-1] // 2].mean(),
        lambda x: x.flip(-1),
        lambda x: torch.cat([x, x.square()], 1)[:, [1]],
        lambda x: torch.cat([x, x.square()], 1).diff(dim=1),
        lambda x: torch.cat([x.mean((2, 3))[..., None], x.flatten(2)], 2)[:, :, 1:].reshape(x.shape),
    ],
)
def test_ends_shares_channels_and_tokens_beside_the_points_are_taken(
    pick: Callable[[torch.Tensor], torch.Tensor],
) -> None:
    assert to_operator(Picking(pick), GRID, in_channels=1).consistency_gap is not None


def test_points_are_told_from_other_axes_on_grids_with_both_ends() -> None:
    grid = Grid((17,), (), False)
    crop = nn.Sequential(nn.Conv1d(1, 1, 1), Cropped())
    with pytest.raises(ValueError, match="leaves out 1 of 17 points"):
        to_operator(crop, grid, in_channels=1)


class Cropped(nn.Module):
    """All points but the last."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[..., :-1]


class Heads(nn.Module):
    """Attention written out: heads are cut from channels, tokens are joined from axes and parted again."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 24)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        field = inputs.expand(-1, 8, -1, -1)
        tokens = field.flatten(2).transpose(1, 2)
        batch, count, width = tokens.shape
        q, k, v = self.project(tokens).view(batch, count, 3, 2, width // 2).permute(2, 0, 3, 1, 4)
        mixed = torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v
        joined = mixed.transpose(1, 2).reshape(batch, count, width)
        scale = joined.reshape(batch, -1).square().mean(1).sqrt()
        return (joined / scale[:, None, None]).transpose(1, 2).reshape(field.shape)


def test_heads_and_tokens_are_no_windows() -> None:
    torch.manual_seed(0)
    gap = to_operator(Heads(), GRID, in_channels=1).consistency_gap
    assert gap is not None
    assert gap < 1e-3


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
