"""Evolution equations against exact solutions, at the order of their integrator."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from equipoise.errors import ConvergenceError
from equipoise.problems.equations_1d import advection, allen_cahn, burgers, korteweg_de_vries, kuramoto_sivashinsky
from equipoise.problems.evolution import SpectralEvolution
from equipoise.problems.navier_stokes import navier_stokes

Exact = Callable[[torch.Tensor, float], torch.Tensor]


def cole_hopf(x: torch.Tensor, t: float) -> torch.Tensor:
    k, nu = 2 * torch.pi, 0.05
    decay = math.exp(-nu * k**2 * t)
    return 2 * nu * k * decay * torch.sin(k * x) / (2 + decay * torch.cos(k * x))


def soliton(x: torch.Tensor, t: float) -> torch.Tensor:
    return 0.5 / torch.cosh(0.5 * (x - 30 - t)).square()


def uniform_front(x: torch.Tensor, t: float) -> torch.Tensor:
    start = 0.2
    return torch.full_like(x, start * math.exp(t) / math.sqrt(1 + start**2 * (math.exp(2 * t) - 1)))


def shifted(x: torch.Tensor, t: float) -> torch.Tensor:
    return torch.exp(torch.sin(2 * torch.pi * (x - t)))


EXACT: dict[str, tuple[Callable[..., SpectralEvolution], dict, Exact]] = {
    "burgers": (burgers, {"resolution": 64, "viscosity": 0.05, "final_time": 0.5}, cole_hopf),
    "korteweg-de-vries": (korteweg_de_vries, {"resolution": 192, "length": 60.0, "final_time": 1.0}, soliton),
    "allen-cahn": (allen_cahn, {"resolution": 16, "final_time": 1.0}, uniform_front),
}

SMALL: dict[str, Callable[..., SpectralEvolution]] = {
    "advection": lambda **o: advection(resolution=32, **o),
    "burgers": lambda **o: burgers(resolution=64, final_time=0.1, **o),
    "allen-cahn": lambda **o: allen_cahn(resolution=64, final_time=0.5, **o),
    "korteweg-de-vries": lambda **o: korteweg_de_vries(resolution=64, final_time=0.1, **o),
    "kuramoto-sivashinsky": lambda **o: kuramoto_sivashinsky(resolution=64, final_time=1.0, **o),
    "navier-stokes": lambda **o: navier_stokes(resolution=32, final_time=0.2, **o),
    "driven navier-stokes": lambda **o: navier_stokes(
        resolution=32, length=2 * math.pi, viscosity=0.005, final_time=0.5, input_field="forcing", **o
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_error_falls_at_fourth_order_in_the_step(name: str) -> None:
    make, options, exact = EXACT[name]
    errors = []
    for step in (0.02, 0.01) if name == "burgers" else (0.05, 0.025):
        problem = make(**options, max_step=step)
        x = problem.grid.axis(0)
        found = problem.solve(exact(x, 0.0)[None, None])[0, 0]
        errors.append(float((found - exact(x, options["final_time"])).abs().max()))
    assert errors[1] < 1e-5
    assert math.log2(errors[0] / errors[1]) > 3.7


def test_advection_is_exact() -> None:
    problem = advection(resolution=48, final_time=0.3)
    x = problem.grid.axis(0)
    torch.testing.assert_close(problem.solve(shifted(x, 0.0)[None, None])[0, 0], shifted(x, 0.3))


def test_waves_that_travel_and_spread_are_exact() -> None:
    problem = advection(resolution=16, diffusion=0.1, final_time=0.3, length=2.0)
    x, k = problem.grid.axis(0), math.pi
    found = problem.solve(torch.sin(k * x)[None, None])[0, 0]
    torch.testing.assert_close(found, math.exp(-0.1 * k**2 * 0.3) * torch.sin(k * (x - 0.3)))
    with pytest.raises(ValueError, match="diffusion=-1"):
        advection(diffusion=-1.0)


def test_taylor_green_vortices_decay_as_they_must() -> None:
    problem = navier_stokes(resolution=32, viscosity=0.01, forcing=0.0, final_time=0.5)
    x = 2 * torch.pi * problem.grid.points()
    start = torch.sin(x[..., 0]) * torch.sin(x[..., 1])
    exact = start * math.exp(-2 * (2 * math.pi) ** 2 * 0.01 * 0.5)
    torch.testing.assert_close(problem.solve(start[None, None])[0, 0], exact)


def test_forcing_alone_grows_linearly_at_first() -> None:
    problem = navier_stokes(resolution=16, viscosity=1e-12, forcing=0.1, final_time=1e-3, max_step=1e-3)
    x = problem.grid.points().sum(-1) * 2 * torch.pi
    found = problem.solve(torch.zeros(1, 1, 16, 16, dtype=torch.float64))[0, 0]
    torch.testing.assert_close(found, 1e-4 * (x.sin() + x.cos()), rtol=1e-9, atol=1e-14)


def test_random_forcing_drives_the_fluid_as_a_known_one_does() -> None:
    options = {"resolution": 32, "viscosity": 0.01, "final_time": 0.4, "n_times": 2}
    known, driven = navier_stokes(forcing=0.1, **options), navier_stokes(input_field="forcing", **options)
    phase = known.grid.points().sum(-1) * 2 * torch.pi
    found = driven.solve(0.1 * (phase.sin() + phase.cos())[None, None])
    torch.testing.assert_close(found, known.solve(torch.zeros(1, 1, 32, 32, dtype=torch.float64)))


def test_random_forcing_has_the_size_documented() -> None:
    for scale in (1.0, 0.25):
        problem = navier_stokes(resolution=64, length=2 * math.pi, input_field="forcing", forcing_scale=scale)
        size = problem.sample(200, torch.Generator().manual_seed(0)).square().mean().sqrt()
        assert size.item() == pytest.approx(1.36 * scale, rel=0.03)


@pytest.mark.parametrize("name", ["kuramoto-sivashinsky", "navier-stokes"])
def test_chaotic_flows_converge_at_fourth_order_to_themselves(name: str) -> None:
    steps = (0.2, 0.1, 0.05) if name == "kuramoto-sivashinsky" else (0.02, 0.01, 0.005)
    start = SMALL[name]().sample(1, torch.Generator().manual_seed(0))
    runs = [SMALL[name](max_step=step).solve(start) for step in steps]
    ratio = float((runs[0] - runs[1]).norm() / (runs[1] - runs[2]).norm())
    assert math.log2(ratio) > 3.5


def test_the_second_order_integrator_is_of_second_order() -> None:
    start = SMALL["navier-stokes"]().sample(1, torch.Generator().manual_seed(0))
    fine = SMALL["navier-stokes"](max_step=0.002).solve(start)
    errors = [
        float((SMALL["navier-stokes"](max_step=step, order=2).solve(start) - fine).norm()) for step in (0.02, 0.01)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)
    with pytest.raises(ValueError, match="order=3"):
        navier_stokes(order=3)


def test_transport_of_vorticity_is_u_dot_grad_w() -> None:
    # A field of low modes, for one step so short that its rate of change is that of Euler's equations.
    problem = navier_stokes(resolution=24, viscosity=1e-14, forcing=0.0, final_time=1e-5, max_step=1e-5)
    grid = problem.grid
    generator = torch.Generator().manual_seed(2)
    k = torch.arange(-3, 4, dtype=torch.float64)
    phase = 2 * torch.pi * (grid.points() @ torch.cartesian_prod(k, k).T)
    size = torch.randn(49, generator=generator, dtype=torch.float64)
    start = (torch.cos(phase + torch.arange(49)) * size).sum(-1)[None, None]
    start = start - start.mean()
    spectrum = torch.fft.rfft2(start)
    kx, ky = grid.wavenumbers(0)[:, None], grid.wavenumbers(1, half=True)[None]
    squared = (kx**2 + ky**2).clamp(min=1e-30)
    u, v, slope_x, slope_y = (
        torch.fft.irfft2(factor * spectrum, s=(24, 24))
        for factor in (1j * ky / squared, -1j * kx / squared, 1j * kx, 1j * ky)
    )
    rate = (problem.solve(start) - start) / 1e-5
    torch.testing.assert_close(rate, -(u * slope_x + v * slope_y), rtol=1e-3, atol=1e-3 * float(rate.abs().max()))


def test_viscous_flow_keeps_its_mean_and_loses_enstrophy_without_forcing() -> None:
    # Fine enough for all modes of the initial field: coarser grids see some of them as a mean.
    problem = navier_stokes(resolution=72, forcing=0.0, final_time=0.5, n_times=5)
    start = problem.sample(2, torch.Generator().manual_seed(1))
    fields = torch.cat([start, problem.solve(start)], 1)
    assert float(fields.mean((-1, -2)).abs().max()) < 1e-12
    assert (fields.square().mean((-1, -2)).diff(dim=1) < 0).all()


@pytest.mark.parametrize("name", SMALL)
def test_residual_of_the_solution_vanishes_and_of_another_field_does_not(name: str) -> None:
    problem = SMALL[name](n_times=3)
    start = problem.sample(2, torch.Generator().manual_seed(2))
    found = problem.solve(start)
    assert found.shape == (2, 3, *problem.grid.shape)
    scale = float(found.abs().max())
    assert float(problem.residual(start, found).abs().max()) < 1e-9 * scale / problem.final_time
    assert float(problem.residual(start, 1.1 * found).abs().max()) > 1e-3 * scale


@pytest.mark.parametrize("name", SMALL)
def test_seed_decides_and_batch_equals_loop(name: str) -> None:
    problem = SMALL[name]()
    first, second = (problem.sample(3, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    together = problem.solve(first)
    alone = torch.cat([problem.solve(row[None]) for row in first])
    torch.testing.assert_close(together, alone, rtol=1e-11, atol=1e-12)


def test_a_field_that_fills_the_cache_is_solved_alone_as_in_a_loop() -> None:
    problem = navier_stokes(resolution=256, final_time=1e-3, max_step=1e-3)
    start = problem.sample(2, torch.Generator().manual_seed(0))
    assert torch.equal(problem.solve(start), torch.cat([problem.solve(row[None]) for row in start]))


@pytest.mark.parametrize("name", SMALL)
def test_dtype_is_kept(name: str) -> None:
    problem = SMALL[name]()
    start = problem.sample(1, torch.Generator().manual_seed(4))
    single = problem.solve(start.float())
    assert single.dtype is torch.float32
    torch.testing.assert_close(single.double(), problem.solve(start), rtol=2e-3, atol=2e-3)


def test_residual_is_differentiable() -> None:
    problem = burgers(resolution=16, viscosity=0.1, final_time=0.02, max_step=0.01)
    start = problem.sample(1, torch.Generator().manual_seed(5))
    outputs = torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    assert torch.autograd.gradcheck(problem.residual, (start.requires_grad_(), outputs.requires_grad_()))


def test_bad_input_is_named() -> None:
    problem = burgers(resolution=16)
    with pytest.raises(ValueError, match="2 channels; burgers has 1: initial"):
        problem.solve(torch.zeros(1, 2, 16, dtype=torch.float64))
    start = torch.zeros(3, 1, 16, dtype=torch.float64)
    start[1, 0, 4] = torch.nan
    with pytest.raises(ValueError, match="sample 1 holds"):
        problem.solve(start)
    with pytest.raises(ValueError, match="must be positive"):
        burgers(final_time=-1.0)
    with pytest.raises(ValueError, match="one of initial, forcing"):
        navier_stokes(input_field="velocity")
    with pytest.raises(ValueError, match=r"forcing_scale=0\.0 of navier-stokes must be positive"):
        navier_stokes(input_field="forcing", forcing_scale=0.0)


def test_blow_up_is_an_error_and_no_nan() -> None:
    problem = korteweg_de_vries(resolution=64, final_time=1.0, max_step=1.0)
    with pytest.raises(ConvergenceError, match="sample 0 became not finite"):
        problem.solve(1e200 * problem.sample(1, torch.Generator().manual_seed(0)))
