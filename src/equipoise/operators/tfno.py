"""The tensorised Fourier neural operator, an FNO whose spectral weights are low-rank tensors; whole, or on patches.

Factorised weights stand in `nn.factorised_weights`, patches in `operators.multigrid_patches`; what else an FNO is, in
`operators.fno`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from equipoise.nn.factorised_weights import FactorisedSpectralWeight, JointSpectralWeights
from equipoise.nn.spectral_weight import SpectralWeight, kept_modes
from equipoise.nn.tensor_ranks import Rank
from equipoise.operators.fno import FNO
from equipoise.operators.multigrid_patches import MultigridPatched

__all__ = ["MGTFNO", "TFNO"]


class TFNO(FNO):
    """Fourier neural operator with spectral weights as Tucker, CP or tensor-train forms.

    Args:
        factorisation: `"tucker"`, `"cp"` or `"tensor-train"`.
        rank: share of the dense entries (float), one rank for all (int), or each (tuple), see `FactorisedParameters`.
        joint: one tensor for all layers, with the layer as one more axis; else one for each layer.
        layer_rank: rank of the layer axis of a joint Tucker tensor; from the share by default.
        separable: one number for each mode and channel, not a matrix for each mode.
        contraction: `"auto"`, `"factored"` or `"reconstructed"`, see `FactorisedSpectralWeight`.
        others: see `FNO`.

    Raises:
        ValueError: for unknown options, a share that is not positive, or a layer rank without a joint tensor.

    Source: Kossaifi, Kovachki, Azizzadenesheli and Anandkumar (2024).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        n_modes: tuple[int, ...],
        width: int = 32,
        n_layers: int = 4,
        factorisation: str = "tucker",
        rank: Rank = 0.1,
        joint: bool = False,
        layer_rank: int | None = None,
        separable: bool = False,
        contraction: str = "auto",
        lifting_ratio: float = 2,
        projection_ratio: float = 2,
        channel_mlp: bool = True,
        mlp_ratio: float = 0.5,
        skip: str = "linear",
        mlp_skip: str = "soft-gating",
        norm: str = "none",
        preactivation: bool = False,
        padding: float = 0.0,
        grid_embedding: bool = True,
        active_modes: tuple[int, ...] | None = None,
        seed: int = 0,
    ) -> None:
        if layer_rank is not None and not joint:
            raise ValueError(f"layer_rank={layer_rank} needs joint=True; separate layers have no layer axis.")
        # Before the constructor of the FNO, which asks for the weights.
        self._weight_options: dict[str, Any] = {
            "factorisation": factorisation,
            "rank": rank,
            "separable": separable,
            "contraction": contraction,
        }
        self._layers: dict[str, Any] = {"joint": joint, "layer_rank": layer_rank}
        super().__init__(
            in_channels=in_channels,
            out_channels=out_channels,
            n_modes=n_modes,
            width=width,
            n_layers=n_layers,
            lifting_ratio=lifting_ratio,
            projection_ratio=projection_ratio,
            channel_mlp=channel_mlp,
            mlp_ratio=mlp_ratio,
            skip=skip,
            mlp_skip=mlp_skip,
            norm=norm,
            preactivation=preactivation,
            padding=padding,
            grid_embedding=grid_embedding,
            active_modes=active_modes,
            seed=seed,
        )
        self.config.update(self._weight_options, **self._layers)

    def spectral_weights(self) -> Sequence[SpectralWeight]:
        """Factorised weights, one for each layer; joint ones are held by `self.joint_weights`."""
        width, count = self.config["width"], self.config["n_layers"]
        sizes: dict[str, Any] = {
            "kept": kept_modes(self.config["n_modes"]),
            "in_channels": width,
            "out_channels": width,
            **self._weight_options,
        }
        if not self._layers["joint"]:
            return [FactorisedSpectralWeight(**sizes) for _ in range(count)]
        self.joint_weights = JointSpectralWeights(n_layers=count, layer_rank=self._layers["layer_rank"], **sizes)
        return [self.joint_weights.layer(index) for index in range(count)]


class MGTFNO(MultigridPatched):
    """A TFNO that answers patch by patch, each with coarse views of its surroundings.

    Args:
        in_channels, out_channels: of the fields; the network inside sees `(levels + 1) in_channels`, and `dim` more of
            each view with `positions`.
        levels, padding, edges, positions, patches_at_once, random_shift: see `MultigridPatched`. A grid must be
            divisible by `4^levels`, and a patch with its halo must resolve the modes.
        others: see `TFNO`; `padding` here is the halo, and the TFNO inside has none of its own.

    Source: Kossaifi, Kovachki, Azizzadenesheli and Anandkumar (2024).
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        n_modes: tuple[int, ...],
        levels: int = 1,
        padding: float | int | tuple[float | int, ...] = 0.078125,
        edges: str | tuple[str, ...] = "periodic",
        positions: bool = False,
        patches_at_once: int | None = None,
        random_shift: bool = False,
        width: int = 32,
        n_layers: int = 4,
        factorisation: str = "tucker",
        rank: Rank = 0.1,
        joint: bool = False,
        layer_rank: int | None = None,
        separable: bool = False,
        contraction: str = "auto",
        lifting_ratio: float = 2,
        projection_ratio: float = 2,
        channel_mlp: bool = True,
        mlp_ratio: float = 0.5,
        skip: str = "linear",
        mlp_skip: str = "soft-gating",
        norm: str = "none",
        preactivation: bool = False,
        grid_embedding: bool = True,
        active_modes: tuple[int, ...] | None = None,
        seed: int = 0,
    ) -> None:
        views = (levels + 1) * (in_channels + (len(n_modes) if positions else 0))
        network = TFNO(
            in_channels=max(views, 1),
            out_channels=out_channels,
            n_modes=n_modes,
            width=width,
            n_layers=n_layers,
            factorisation=factorisation,
            rank=rank,
            joint=joint,
            layer_rank=layer_rank,
            separable=separable,
            contraction=contraction,
            lifting_ratio=lifting_ratio,
            projection_ratio=projection_ratio,
            channel_mlp=channel_mlp,
            mlp_ratio=mlp_ratio,
            skip=skip,
            mlp_skip=mlp_skip,
            norm=norm,
            preactivation=preactivation,
            grid_embedding=grid_embedding,
            active_modes=active_modes,
            seed=seed,
        )
        super().__init__(
            network,
            levels=levels,
            padding=padding,
            edges=edges,
            positions=positions,
            patches_at_once=patches_at_once,
            random_shift=random_shift,
            seed=seed,
        )
        inner = {name: value for name, value in network.config.items() if name not in ("in_channels", "padding")}
        self.config = {**inner, **self.config, "in_channels": in_channels}

    def use_modes(self, n_modes: tuple[int, ...]) -> None:
        """See `FNO.use_modes`."""
        assert isinstance(self.operator, TFNO)
        self.operator.use_modes(n_modes)
        self.config["active_modes"] = tuple(n_modes)
