import pytest
import torch

from equipoise.nn.initialisation import seeded
from equipoise.nn.spectral_weight import (
    DenseSpectralWeight,
    SpectralWeight,
    contract_pairs,
    kept_modes,
    spectral_deviation,
)


def _weight(kept=(4, 3), inputs=3, outputs=2):
    with seeded(0):
        return DenseSpectralWeight(kept=kept, in_channels=inputs, out_channels=outputs).double()


def test_kept_modes_halve_the_last_axis():
    assert kept_modes((16, 16)) == (16, 9)
    assert kept_modes((5,)) == (3,)
    with pytest.raises(ValueError, match=r"n_modes=\(4, 0\)"):
        kept_modes((4, 0))


@pytest.mark.parametrize("kept", [(5,), (4, 3), (2, 3, 2)])
def test_contraction_is_the_complex_product_over_channels(kept):
    weight = _weight(kept)
    modes = torch.randn(*kept, 2, 6, 3, dtype=torch.float64)
    found = weight.contract(modes)
    pairs = torch.complex(*modes.unbind(-3))
    expected = torch.einsum("...bi,...io->...bo", pairs, weight.dense())
    torch.testing.assert_close(torch.complex(*found.unbind(-3)), expected)
    torch.testing.assert_close(SpectralWeight.contract(weight, modes), found)


def test_contraction_has_first_and_second_derivatives():
    modes = torch.randn(2, 2, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(contract_pairs, (modes, weight))
    assert torch.autograd.gradgradcheck(contract_pairs, (modes, weight))


def test_entries_start_with_the_stated_deviation():
    with seeded(1):
        dense = DenseSpectralWeight(kept=(16, 9), in_channels=16, out_channels=16).dense().detach()
    assert float(dense.abs().square().mean().sqrt()) == pytest.approx(spectral_deviation(16, 16), rel=0.01)
    assert float(dense.real.std()) == pytest.approx(float(dense.imag.std()), rel=0.02)


def test_an_empty_weight_is_refused():
    with pytest.raises(ValueError, match="in_channels=0"):
        DenseSpectralWeight(kept=(2,), in_channels=0, out_channels=1)
