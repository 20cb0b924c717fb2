"""Weights of spectral convolutions as low-rank tensors: one tensor for each layer, or one for all layers.

The algebra of the forms stands in `factorised_tensors`, their ranks in `tensor_ranks`; here are parameters, initial
values and the choice of how a weight meets its input.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import nn

from equipoise.nn.factorised_tensors import CanonicalTensor, ChannelMaps, FactorisedTensor, TensorTrain, TuckerTensor
from equipoise.nn.spectral_weight import SpectralWeight, contract_pairs, spectral_deviation
from equipoise.nn.tensor_ranks import Rank, cp_rank, factorisation_size, tensor_train_ranks, tucker_ranks

__all__ = [
    "CONTRACTIONS",
    "FACTORISATIONS",
    "FactorisedParameters",
    "FactorisedSpectralWeight",
    "JointSpectralWeights",
    "chosen_contraction",
]

FACTORISATIONS = ("tucker", "cp", "tensor-train")
CONTRACTIONS = ("auto", "factored", "reconstructed")


class FactorisedParameters(nn.Module):
    """The parts of a factorised complex tensor, real with a last axis of two, drawn from torch's global generator.

    Every part is a complex Gaussian of one deviation t, such that the entries of the tensor have the deviation s
    asked for, `E |T|^2 = s^2`: with R the number of terms in the sum of an entry and m that of the parts that are
    multiplied in a term, `t = (s / sqrt(R))^(1/m)`. The weights of a CP sum start at 1. (TensorLy takes `(s /
    R)^(1/m)` for tensor trains, whose entries are then smaller than asked by `sqrt(R)`.)

    Args:
        kind: `"tucker"`, `"cp"` or `"tensor-train"`. shape: of the tensor.
        rank: share of the dense entries (float), one rank for all (int) or each rank (tuple; n for Tucker, one for CP,
            n - 1 for a tensor train). Tucker ranks beyond the size of their axis are cut to it.
        deviation: s. first_rank: of the first axis of a Tucker form, where a share is to leave it as it is given.

    Attributes:
        ranks: that resulted. size: complex numbers held.

    Raises:
        ValueError: for another kind, a rank that is not positive, or the wrong number of ranks.
    """

    def __init__(
        self, *, kind: str, shape: tuple[int, ...], rank: Rank, deviation: float, first_rank: int | None = None
    ) -> None:
        super().__init__()
        if kind not in FACTORISATIONS:
            raise ValueError(f"factorisation {kind!r} is unknown; use one of {', '.join(FACTORISATIONS)}.")
        if len(shape) < 2 or min(shape) < 1:
            raise ValueError(f"shape={shape} must hold two or more positive sizes.")
        if first_rank is not None and (kind != "tucker" or not isinstance(rank, float)):
            raise ValueError(f"first_rank={first_rank} needs a Tucker form and a share as the rank.")
        self.kind, self.shape = kind, tuple(shape)
        self.ranks = _ranks(kind, self.shape, rank, {} if first_rank is None else {0: first_rank})
        self.size = factorisation_size(kind, self.shape, self.ranks)
        parts = _part_shapes(kind, self.shape, self.ranks)
        terms = self.ranks[0] if kind == "cp" else math.prod(self.ranks)
        scale = (deviation / terms**0.5) ** (1 / len(parts))
        # Variance is shared by the real and the imaginary part.
        self.parts = nn.ParameterList([scale / 2**0.5 * torch.randn(*part, 2) for part in parts])
        if kind == "cp":
            self.weights = nn.Parameter(torch.tensor([1.0, 0.0]).repeat(self.ranks[0], 1))

    def tensor(self) -> FactorisedTensor:
        """The parts as a complex value, with gradients."""
        parts = tuple(torch.view_as_complex(part) for part in self.parts)
        if self.kind == "tucker":
            return TuckerTensor(parts[0], parts[1:])
        if self.kind == "cp":
            return CanonicalTensor(torch.view_as_complex(self.weights), parts)
        return TensorTrain(parts)

    def extra_repr(self) -> str:
        """Kind, shape and ranks."""
        return f"{self.kind}, shape={self.shape}, ranks={self.ranks}"


def _ranks(kind: str, shape: tuple[int, ...], rank: Rank, fixed: dict[int, int]) -> tuple[int, ...]:
    count = {"tucker": len(shape), "cp": 1, "tensor-train": len(shape) - 1}[kind]
    if isinstance(rank, float):
        if kind == "cp":
            return (cp_rank(shape, rank),)
        return tucker_ranks(shape, rank, fixed=fixed) if kind == "tucker" else tensor_train_ranks(shape, rank)
    ranks = rank if isinstance(rank, tuple) else (rank,) * count
    if len(ranks) != count or min(ranks) < 1:
        raise ValueError(f"rank={rank} must be {count} positive numbers for a {kind} tensor of shape {shape}.")
    if kind == "tucker":
        return tuple(min(size, rank) for size, rank in zip(shape, ranks, strict=True))
    return tuple(ranks)


def _part_shapes(kind: str, shape: tuple[int, ...], ranks: tuple[int, ...]) -> list[tuple[int, ...]]:
    if kind == "tucker":
        return [ranks, *zip(shape, ranks, strict=True)]
    if kind == "cp":
        return [(size, ranks[0]) for size in shape]
    bounds = (1, *ranks, 1)
    return list(zip(bounds[:-1], shape, bounds[1:], strict=True))


class FactorisedSpectralWeight(SpectralWeight):
    """The weight of one spectral convolution as a low-rank tensor of shape `(*kept, in, out)`.

    Args:
        kept, in_channels, out_channels: see `SpectralWeight`.
        factorisation, rank: see `FactorisedParameters`.
        separable: one number for each mode and channel, a tensor `(*kept, channel)`, not a matrix for each mode.
        contraction: `"factored"` sends the input through the factors one after the other, `"reconstructed"` builds the
            dense weight first, `"auto"` takes the one expected to be faster, see `chosen_contraction`. The
            results differ by rounding only. A separable weight is always built: it is no larger than its input.
        shared: factors of the weights of all layers, `(layer, *kept, in, out)`, held by `JointSpectralWeights`.
        layer: the index of this layer in them.

    Raises:
        ValueError: for an unknown contraction, or a separable weight between different numbers of channels.

    Source: Kossaifi, Kovachki, Azizzadenesheli and Anandkumar (2024).
    """

    def __init__(
        self,
        *,
        kept: tuple[int, ...],
        in_channels: int,
        out_channels: int,
        factorisation: str = "tucker",
        rank: Rank = 0.1,
        separable: bool = False,
        contraction: str = "auto",
        shared: FactorisedParameters | None = None,
        layer: int = 0,
    ) -> None:
        super().__init__(kept=kept, in_channels=in_channels, out_channels=out_channels)
        if contraction not in CONTRACTIONS:
            raise ValueError(f"contraction {contraction!r} is unknown; use one of {', '.join(CONTRACTIONS)}.")
        self.separable, self.contraction, self.layer = separable, contraction, layer
        shape = _weight_shape(self.kept, in_channels, out_channels, separable)
        self.own = None
        if shared is None:
            deviation = _deviation(in_channels, out_channels, separable)
            self.own = FactorisedParameters(kind=factorisation, shape=shape, rank=rank, deviation=deviation)
        elif shared.shape[1:] != shape or not 0 <= layer < shared.shape[0]:
            raise ValueError(f"layer {layer} of shared factors {shared.shape} is no weight of shape {shape}.")
        # In a tuple, so that the module does not register it: its parameters belong to one owner, and are saved once.
        self._shared = (shared,)

    def tensor(self) -> FactorisedTensor:
        """This layer's weight in factorised form, `(*kept, in, out)` or `(*kept, channel)`."""
        if self.own is not None:
            return self.own.tensor()
        (shared,) = self._shared
        assert shared is not None
        return shared.tensor().row(self.layer)

    def dense(self) -> Complex[torch.Tensor, "*kept inputs outputs"]:
        """Complex, `(*kept, in, out)`; diagonal where the weight is separable."""
        weight = self.tensor().dense()
        return torch.diag_embed(weight) if self.separable else weight

    def contract(
        self, modes: Float[torch.Tensor, "*kept 2 batch inputs"]
    ) -> Float[torch.Tensor, "*kept 2 batch outputs"]:
        """See `SpectralWeight.contract`."""
        tensor = self.tensor()
        if modes.shape[:-3] != self.kept:
            tensor = tensor.narrowed(self.block(modes))
        if self.separable:
            return _scale_channels(modes, tensor.dense())
        contraction = self.contraction
        if contraction == "auto" and isinstance(modes.shape[-2], torch.SymInt):
            # A program for batches of any size.
            contraction = "reconstructed"
        elif contraction == "auto":
            contraction = chosen_contraction(
                batch=modes.shape[-2],
                inputs=self.in_channels,
                outputs=self.out_channels,
                ranks=tensor.channel_ranks,
                diagonal=isinstance(tensor, CanonicalTensor),
            )
        if contraction == "factored":
            return _through_maps(modes, tensor.channel_maps())
        return contract_pairs(modes, _pairs(tensor.dense()))


class JointSpectralWeights(nn.Module):
    """The weights of all layers as one low-rank tensor `(layer, *kept, in, out)`: the layer is one more axis.

    Args:
        n_layers: number of layers. kept, in_channels, out_channels, factorisation, rank, separable, contraction: see
            `FactorisedSpectralWeight`; a share counts the dense entries of all layers.
        layer_rank: of the layer axis of a Tucker form; `n_layers` leaves that axis whole. By default the share decides,
            which for few layers rounds coarsely: 0.1 of 4 layers of 16 x 9 modes and 24 channels keeps 0.125, and 0.094
            with all 4.

    Source: Kossaifi et al. (2024), who also stack the sign quadrants of the modes along this axis; here a layer's modes
    are one block.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        kept: tuple[int, ...],
        in_channels: int,
        out_channels: int,
        factorisation: str = "tucker",
        rank: Rank = 0.1,
        separable: bool = False,
        contraction: str = "auto",
        layer_rank: int | None = None,
    ) -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"n_layers={n_layers} must be positive.")
        shape = (n_layers, *_weight_shape(tuple(kept), in_channels, out_channels, separable))
        deviation = _deviation(in_channels, out_channels, separable)
        self.factors = FactorisedParameters(
            kind=factorisation, shape=shape, rank=rank, deviation=deviation, first_rank=layer_rank
        )
        self._options = {
            "kept": tuple(kept),
            "in_channels": in_channels,
            "out_channels": out_channels,
            "separable": separable,
            "contraction": contraction,
        }

    def layer(self, index: int) -> FactorisedSpectralWeight:
        """The weight of one layer; it has no parameters of its own, and follows those held here."""
        return FactorisedSpectralWeight(**self._options, shared=self.factors, layer=index)  # type: ignore[arg-type]


def _weight_shape(kept: tuple[int, ...], inputs: int, outputs: int, separable: bool) -> tuple[int, ...]:
    if separable and inputs != outputs:
        raise ValueError(f"a separable weight maps each channel to itself, not {inputs} channels to {outputs}.")
    return (*kept, inputs) if separable else (*kept, inputs, outputs)


def _deviation(inputs: int, outputs: int, separable: bool) -> float:
    # A channel of a separable weight has one input.
    return spectral_deviation(1, 1) if separable else spectral_deviation(inputs, outputs)


def chosen_contraction(*, batch: int, inputs: int, outputs: int, ranks: tuple[int, int], diagonal: bool = False) -> str:
    """`"factored"` or `"reconstructed"`, whichever is expected to be faster for this many samples.

    The factored way moves `batch (p + q)` numbers more for each mode, p and q being the ranks beside the input and
    the output; the other way moves the `in out` numbers of the dense weight. A diagonal form (CP) pays r products for
    each of these, worth about `r / 90` moves. Times of forward and backward on one core (16 x 9 to 32 x 17 and 8 x 8
    x 5 modes, 16 to 64 channels, shares 0.02 to 0.42, 1 to 64 samples) cross where this rule turns, mostly within a
    factor of 1.5 in the number of samples.

    Args:
        batch, inputs, outputs: samples and channels. ranks: p and q. diagonal: whether the maps of the modes are.
    """
    building = inputs * outputs * (1 + ranks[0] / 90 if diagonal else 1)
    return "factored" if batch * sum(ranks) <= building else "reconstructed"


def _pairs(weight: torch.Tensor) -> torch.Tensor:
    """Complex `(..., in, out)` to real `(..., in, 2, out)`."""
    return torch.stack([weight.real, weight.imag], -2)


def _through(modes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """One complex matrix `(in, out)` for all modes, as one real product."""
    products = (modes @ _pairs(weight).flatten(1)).unflatten(-1, (2, weight.shape[1]))
    real, imaginary = products.unbind(-4)
    return torch.stack([real[..., 0, :] - imaginary[..., 1, :], real[..., 1, :] + imaginary[..., 0, :]], -3)


def _scale_channels(modes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`(*kept, 2, batch, channel)` times complex `(*kept, channel)`."""
    real, imaginary = modes.unbind(-3)
    by_real, by_imaginary = weight.real[..., None, :], weight.imag[..., None, :]
    return torch.stack([real * by_real - imaginary * by_imaginary, real * by_imaginary + imaginary * by_real], -3)


def _through_maps(modes: torch.Tensor, maps: ChannelMaps) -> torch.Tensor:
    kept = modes.shape[:-3]
    values = modes if maps.enter is None else _through(modes, maps.enter)
    if maps.modes.ndim == 2:
        values = _scale_channels(values, maps.modes.unflatten(0, kept))
    else:
        values = contract_pairs(values, _pairs(maps.modes.unflatten(0, kept)))
    return values if maps.leave is None else _through(values, maps.leave)
