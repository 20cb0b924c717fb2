"""Conjugate directions from any proposal: limits that are known exactly, and what the safeguard guarantees."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse.linalg as spla
import torch

from equipoise.errors import ConvergenceError
from equipoise.operators.direction_net import DirectionNet, network_direction
from equipoise.problems.obstacles import domain, empty_box
from equipoise.problems.pressure import PressurePoisson, smooth_divergence
from equipoise.solvers.learned_directions import DirectionCounts, conjugate_directions
from equipoise.solvers.linear import conjugate_gradient, prepare, solve
from equipoise.solvers.solution import Result

FieldMap = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(scope="module")
def system() -> PressurePoisson:
    return PressurePoisson(domain("two boxes", (16, 16))[None])


@pytest.fixture(scope="module")
def rhs(system: PressurePoisson) -> torch.Tensor:
    return smooth_divergence(system, 3, torch.Generator().manual_seed(0))


def _exact(system: PressurePoisson, rhs: torch.Tensor) -> torch.Tensor:
    values = spla.spsolve(system.matrix().tocsc(), system.restrict(rhs).T)
    return system.prolong(np.atleast_2d(values.T))


def _random_network(seed: int = 0) -> FieldMap:
    return network_direction(DirectionNet(seed=seed))


def _iterates(system: PressurePoisson, rhs: torch.Tensor, direction: FieldMap, **options: object) -> list[torch.Tensor]:
    """All iterates, the zero guess first."""
    kept = [torch.zeros_like(rhs)]
    conjugate_directions(
        system.apply,
        rhs,
        direction,
        project=system.project,
        callback=lambda value, relative: kept.append(value.clone()),
        throw=False,
        **options,  # type: ignore[arg-type]  # forwarded
    )
    return kept


def _energy(system: PressurePoisson, error: torch.Tensor) -> torch.Tensor:
    return (error * system.apply(error)).flatten(1).sum(1)


@pytest.mark.parametrize("options", [{"stored": 2, "safeguard": False}, {}])
def test_with_the_identity_the_iterates_are_those_of_conjugate_gradients(
    system: PressurePoisson, rhs: torch.Tensor, options: dict[str, object]
) -> None:
    state = prepare(system.matrix(), method="cg")
    ours = _iterates(system, rhs, lambda unit: unit, rtol=1e-14, maxiter=30, **options)
    for count in (1, 2, 7, 30):
        theirs = solve(state, system.restrict(rhs), rtol=1e-15, maxiter=count, throw=False).value
        gap = system.restrict(ours[count]) - np.asarray(theirs)
        assert np.abs(gap).max() < 1e-10 * np.abs(np.asarray(theirs)).max()


@pytest.mark.parametrize("options", [{"stored": 2, "safeguard": False}, {}])
@pytest.mark.parametrize("norm", ["energy", "residual"])
def test_with_the_inverse_it_ends_after_one_iteration(
    system: PressurePoisson, rhs: torch.Tensor, options: dict[str, object], norm: str
) -> None:
    solution = conjugate_directions(
        system.apply, rhs, lambda unit: _exact(system, unit), project=system.project, rtol=1e-10, norm=norm, **options
    )
    assert solution.iterations.tolist() == [1, 1, 1]
    torch.testing.assert_close(solution.value, _exact(system, rhs))


@pytest.mark.parametrize("safeguard", [False, True])
def test_scale_and_sign_of_a_proposal_do_not_matter(
    system: PressurePoisson, rhs: torch.Tensor, safeguard: bool
) -> None:
    network = _random_network()
    plain = _iterates(system, rhs, network, safeguard=safeguard, maxiter=12)[-1]
    for factor in (-1.0, 1e-6, -3e8):
        scaled = _iterates(system, rhs, lambda unit, c=factor: c * network(unit), safeguard=safeguard, maxiter=12)[-1]
        torch.testing.assert_close(scaled, plain, rtol=0, atol=1e-9 * float(plain.abs().max()))


@pytest.mark.parametrize("options", [{"stored": 2, "safeguard": False}, {"stored": 0}, {"stored": 3}])
def test_the_error_never_grows_in_the_energy_norm_whatever_is_proposed(
    system: PressurePoisson, rhs: torch.Tensor, options: dict[str, object]
) -> None:
    generator = torch.Generator().manual_seed(1)
    exact = _exact(system, rhs)

    def noise(unit: torch.Tensor) -> torch.Tensor:
        return torch.randn(unit.shape, dtype=unit.dtype, generator=generator)

    iterates = _iterates(system, rhs, noise, maxiter=60, rtol=1e-12, **options)
    energies = torch.stack([_energy(system, value - exact) for value in iterates])
    assert (energies.diff(dim=0) <= 1e-12 * energies[0]).all()
    assert (energies[-1] < energies[0]).all()


@pytest.mark.parametrize("safeguard", [False, True])
def test_the_residual_never_grows_in_the_residual_form(
    system: PressurePoisson, rhs: torch.Tensor, safeguard: bool
) -> None:
    solution = conjugate_directions(
        system.apply,
        rhs,
        _random_network(),
        norm="residual",
        safeguard=safeguard,
        project=system.project,
        maxiter=40,
        throw=False,
    )
    history = torch.stack(solution.history)
    assert (history.diff(dim=0) <= 1e-12).all()


def test_steps_are_conjugate_to_the_stored_ones(system: PressurePoisson, rhs: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(2)

    def disturbed(unit: torch.Tensor) -> torch.Tensor:
        return unit + 0.02 * torch.randn(unit.shape, dtype=unit.dtype, generator=generator)

    iterates = _iterates(system, rhs, disturbed, stored=2, safeguard=False, maxiter=25)
    steps = torch.stack(iterates).diff(dim=0)
    size = torch.stack([_energy(system, step) for step in steps]).sqrt()
    for back in (1, 2):
        for number in range(back, len(steps)):
            product = (steps[number] * system.apply(steps[number - back])).flatten(1).sum(1)
            assert (product.abs() < 1e-10 * size[number] * size[number - back]).all()


def _galerkin_decrease(system: PressurePoisson, columns: list[torch.Tensor], residual: torch.Tensor) -> torch.Tensor:
    """Decrease of the squared energy error by the minimiser over the columns, by a pseudo-inverse."""
    block = torch.stack([column.flatten(1) / column.flatten(1).norm(dim=1, keepdim=True) for column in columns], 1)
    images = torch.stack([system.apply(part.view_as(residual)).flatten(1) for part in block.unbind(1)], 1)
    slope = (block @ residual.flatten(1)[..., None])[..., 0]
    inverse = torch.linalg.pinv(block @ images.mT, rtol=1e-12)
    return (slope * (inverse @ slope[..., None])[..., 0]).sum(1)


def test_a_safeguarded_step_is_the_galerkin_step_and_beats_the_plain_one_and_steepest_descent(
    system: PressurePoisson, rhs: torch.Tensor
) -> None:
    network = _random_network()
    iterates = _iterates(system, rhs, network, stored=2, maxiter=20)
    exact = _exact(system, rhs)
    for number in range(20):
        residual = rhs - system.apply(iterates[number])
        proposal = system.project(network(residual / residual.flatten(1).norm(dim=1)[:, None, None]))
        stored = [iterates[n + 1] - iterates[n] for n in range(max(0, number - 2), number)]
        before, after = (_energy(system, value - exact) for value in (iterates[number], iterates[number + 1]))
        tolerance = 1e-9 * before
        galerkin = _galerkin_decrease(system, [proposal, residual, *stored], residual)
        assert ((before - after - galerkin).abs() <= tolerance).all()
        for columns in ([proposal, *stored], [residual]):
            assert (before - after >= _galerkin_decrease(system, columns, residual) - tolerance).all()


@pytest.mark.parametrize("name", ["empty", "disc", "two boxes", "wall with gap", "random"])
def test_with_random_weights_the_safeguarded_form_takes_at_most_twice_the_iterations(name: str) -> None:
    system = PressurePoisson(domain(name, (32, 32))[None])
    rhs = smooth_divergence(system, 1, torch.Generator().manual_seed(1))
    solution = conjugate_directions(system.apply, rhs, _random_network(3), project=system.project)
    plain = conjugate_gradient(
        lambda rows, numbers: system.apply(rows.view(-1, 32, 32)).flatten(1),
        rhs.flatten(1),
        preconditioner=lambda rows: rows,
        rtol=1e-4,
        maxiter=500,
    )
    assert solution.converged.all()
    assert int(solution.iterations) <= 2 * int(plain.iterations)
    residual = rhs - system.apply(solution.value)
    assert residual.norm() <= 1e-4 * rhs.norm()


def test_a_closed_box_of_two_components_is_solved_up_to_constants() -> None:
    fluid = empty_box((10, 12))
    fluid[5] = False
    system = PressurePoisson(fluid[None], open_sides=((False, False), (False, False)))
    rhs = system.project(torch.randn(1, 10, 12, dtype=torch.float64))
    solution = conjugate_directions(system.apply, rhs, _random_network(), project=system.project, rtol=1e-10)
    matrix, values = system.matrix(), system.restrict(rhs)[0]
    free = np.ones(len(values), dtype=bool)
    free[[0, 60]] = False
    pinned = np.zeros(len(values))
    pinned[free] = spla.spsolve(matrix[free][:, free].tocsc(), values[free])
    expected = system.project(system.prolong(pinned[None]))
    torch.testing.assert_close(solution.value, expected, rtol=0, atol=1e-8 * float(expected.abs().max()))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("safeguard", [False, True])
def test_a_proposal_that_is_not_finite_or_zero_gives_way_to_the_residual(
    system: PressurePoisson, rhs: torch.Tensor, bad: float, safeguard: bool
) -> None:
    """In the second sample only, so that the others show that they are left alone."""

    def spoilt(unit: torch.Tensor) -> torch.Tensor:
        proposed = unit.clone()
        proposed[1:2] = bad if bad != 0 else 0.0
        return proposed

    solution = conjugate_directions(
        system.apply, rhs[:2], spoilt, stored=2, safeguard=safeguard, project=system.project, rtol=1e-8
    )
    identity = conjugate_directions(
        system.apply, rhs[:2], lambda unit: unit, stored=2, safeguard=safeguard, project=system.project, rtol=1e-8
    )
    torch.testing.assert_close(solution.value, identity.value, rtol=0, atol=1e-9 * float(identity.value.abs().max()))
    assert isinstance(solution.state, DirectionCounts)
    assert int(solution.state.replaced[0]) == 0
    assert int(solution.state.replaced[1]) >= int(solution.iterations[1]) - 1 > 0


def test_a_proposal_in_the_span_of_the_stored_steps_drops_them_and_goes_on(
    system: PressurePoisson, rhs: torch.Tensor
) -> None:
    first: list[torch.Tensor] = []

    def stubborn(unit: torch.Tensor) -> torch.Tensor:
        first.append(unit)
        return first[0]

    solution = conjugate_directions(
        system.apply, rhs[:1], stubborn, stored=2, safeguard=False, project=system.project, maxiter=40, throw=False
    )
    assert int(solution.state.dropped[0]) > 0
    assert torch.isfinite(solution.value).all()
    assert float(solution.residual) < 1
    guarded = conjugate_directions(system.apply, rhs[:1], lambda unit: first[0], project=system.project)
    assert guarded.converged.all()


def test_finished_samples_stay_as_they_are_and_end_the_proposals_for_them(system: PressurePoisson) -> None:
    rhs = smooth_divergence(system, 3, torch.Generator().manual_seed(4))
    exact, network, rows = _exact(system, rhs), _random_network(), []

    def counted(unit: torch.Tensor) -> torch.Tensor:
        rows.append(len(unit))
        return network(unit)

    guess = torch.stack([torch.zeros_like(exact[0]), exact[1], torch.zeros_like(exact[2])])
    guess[1] += 1e-9
    together = conjugate_directions(system.apply, rhs, counted, x0=system.project(guess), project=system.project)
    alone = [
        conjugate_directions(system.apply, rhs[n : n + 1], network, project=system.project, rtol=1e-4) for n in (0, 2)
    ]
    assert [int(together.iterations[n]) for n in (0, 2)] == [int(one.iterations) for one in alone]
    for number, one in zip((0, 2), alone, strict=True):
        torch.testing.assert_close(together.value[number], one.value[0], rtol=0, atol=1e-7)
    assert rows[0] == 3
    assert min(rows) == 1
    zero = conjugate_directions(system.apply, torch.zeros_like(rhs), network)
    assert zero.converged.all()
    assert zero.iterations.tolist() == [0, 0, 0]


def test_products_are_counted(system: PressurePoisson, rhs: torch.Tensor) -> None:
    calls = []

    def operator(field: torch.Tensor) -> torch.Tensor:
        calls.append(len(field))
        return system.apply(field)

    solution = conjugate_directions(operator, rhs[:1], _random_network(), project=system.project)
    assert int(solution.products[0]) == len(calls)
    calls.clear()
    plain = conjugate_directions(
        operator, rhs[:1], lambda unit: unit, stored=2, safeguard=False, project=system.project, refresh=1000
    )
    assert int(plain.products[0]) == len(calls) <= int(plain.iterations[0]) + 3


def test_a_preconditioner_takes_the_place_of_the_identity(system: PressurePoisson, rhs: torch.Tensor) -> None:
    diagonal = system.prolong(system.matrix().diagonal()[None])
    jacobi = torch.where(diagonal > 0, 1 / diagonal, 0.0)

    def inverse(field: torch.Tensor) -> torch.Tensor:
        return _exact(system, field)

    one = conjugate_directions(
        system.apply, rhs, _random_network(), preconditioner=inverse, project=system.project, rtol=1e-10
    )
    assert one.iterations.tolist() == [1, 1, 1]
    scaled = conjugate_directions(
        system.apply, rhs, lambda unit: unit * jacobi, preconditioner=lambda unit: unit * jacobi, project=system.project
    )
    plain = prepare(system.matrix(), "jacobi", method="cg")
    theirs = solve(plain, system.restrict(rhs), rtol=1e-4).iterations
    assert (scaled.iterations - torch.as_tensor(theirs)).abs().max() <= 1


def test_failures_are_told(system: PressurePoisson, rhs: torch.Tensor) -> None:
    def project(field: torch.Tensor) -> torch.Tensor:
        return system.project(field)

    with pytest.raises(ConvergenceError, match="3 of 3 samples failed"):
        conjugate_directions(system.apply, rhs, lambda unit: unit, project=project, maxiter=2)
    negative = conjugate_directions(lambda field: -system.apply(field), rhs, lambda unit: unit, throw=False)
    assert set(negative.result.tolist()) == {int(Result.BREAKDOWN)}
    spoilt = rhs.clone()
    spoilt[1, 0, 0] = float("nan")
    flagged = conjugate_directions(system.apply, spoilt, lambda unit: unit, project=project, throw=False)
    assert flagged.result.tolist() == [0, int(Result.NON_FINITE_INPUT), 0]
    with pytest.raises(ValueError, match="below round-off"):
        conjugate_directions(system.apply, rhs, lambda unit: unit, rtol=1e-17)
    with pytest.raises(ValueError, match="norm='l2' is unknown"):
        conjugate_directions(system.apply, rhs, lambda unit: unit, norm="l2")
    with pytest.raises(ValueError, match="x0 has shape"):
        conjugate_directions(system.apply, rhs, lambda unit: unit, x0=rhs[:1])
    with pytest.raises(ValueError, match="stored=-1"):
        conjugate_directions(system.apply, rhs, lambda unit: unit, stored=-1)
