import pytest
import torch

from equipoise.nn.initialisation import seeded
from equipoise.nn.spectral_convolution import SpectralConvolution
from equipoise.nn.spectral_weight import DenseSpectralWeight


def _layer(**options):
    with seeded(0):
        return SpectralConvolution(in_channels=2, out_channels=3, n_modes=(6, 6), **options).double()


def _waves(points, shift=0.0):
    x, y = torch.meshgrid(*[torch.arange(points, dtype=torch.float64) / points] * 2, indexing="ij")
    first = torch.sin(2 * torch.pi * (x + y - 2 * shift)) + 0.3
    return torch.stack([first, torch.cos(2 * torch.pi * (2 * (x - shift) - (y - shift)))])[None]


@pytest.mark.parametrize("method", ["matrix", "fft"])
def test_it_is_the_same_operator_on_every_grid(method):
    layer = _layer(method=method)
    torch.testing.assert_close(layer(_waves(24))[..., ::2, ::2], layer(_waves(12)))


def test_it_commutes_with_periodic_shifts():
    layer = _layer()
    torch.testing.assert_close(layer(_waves(16, 0.25)), layer(_waves(16)).roll((4, 4), (-2, -1)))


def test_the_bias_is_added_to_every_point():
    layer = _layer()
    with torch.no_grad():
        layer.weight.weight.zero_()
    torch.testing.assert_close(layer(_waves(9)), layer.bias[None, :, None, None].expand(1, -1, 9, 9))
    assert _layer(bias=False).bias is None


def test_a_weight_of_other_modes_or_an_unknown_method_is_refused():
    weight = DenseSpectralWeight(kept=(6, 3), in_channels=2, out_channels=3)
    with pytest.raises(ValueError, match=r"keeps \(6, 3\) modes.*needs \(6, 4\)"):
        _layer(weight=weight)
    with pytest.raises(ValueError, match="method='dft'"):
        _layer(method="dft")


@pytest.mark.parametrize("method", ["matrix", "fft"])
def test_it_has_derivatives(method):
    with seeded(0):
        layer = SpectralConvolution(in_channels=1, out_channels=2, n_modes=(3, 2), method=method).double()
    field = torch.randn(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (field,))
    assert torch.autograd.gradgradcheck(layer, (field,))
