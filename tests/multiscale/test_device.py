"""The macroscale on a GPU gives the answer of the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sample_structures import at

from equipoise.multiscale.constitutive import ConstitutiveModel
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.structure import Load, Structure, Support
from equipoise.problems.mechanics.materials import paper_matrix
from equipoise.spaces.structures import cooks_membrane


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_same_displacement_as_the_cpu() -> None:
    structure = Structure(
        cooks_membrane(elements=(6, 6)),
        [Support(at(x=0.0), {"x": 0.0, "y": 0.0})],
        [Load(at(x=48.0), traction=(0.0, 1.0))],
    )
    model = ConstitutiveModel(paper_matrix())
    cpu, gpu = simulate(structure, model), simulate(structure, model, device="cuda")
    np.testing.assert_allclose(gpu.displacement, cpu.displacement, atol=1e-8 * np.abs(cpu.displacement).max())
