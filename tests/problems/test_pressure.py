"""The pressure matrix as a stencil and as a sparse matrix, its null space, and domains with obstacles."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg as spla
import torch

from equipoise.problems.obstacles import DOMAINS, ball, boxes, domain, empty_box, random_obstacles, wall_with_gap
from equipoise.problems.pressure import PressurePoisson, smooth_divergence


def _random_system(shape: tuple[int, ...], seed: int, domains: int = 3) -> PressurePoisson:
    generator = torch.Generator().manual_seed(seed)
    fluid = torch.rand(domains, *shape, generator=generator) < 0.7
    fluid[(slice(None), *[0] * len(shape))] = True
    sides = [(bool(pair[0] < 0.5), bool(pair[1] < 0.5)) for pair in torch.rand(len(shape), 2, generator=generator)]
    return PressurePoisson(fluid, open_sides=sides)


@pytest.mark.parametrize("shape", [(9,), (7, 10), (5, 6, 4)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_stencil_is_the_matrix_on_random_masks(shape: tuple[int, ...], seed: int) -> None:
    system = _random_system(shape, seed)
    field = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    image = system.apply(field)
    for number in range(3):
        matrix = system.matrix(number)
        assert abs(matrix - matrix.T).max() == 0
        values = system.restrict(field[number][None], number)
        expected = system.prolong((matrix @ values.T).T, number)
        torch.testing.assert_close(image[number][None], expected, rtol=0, atol=1e-13)


def test_rows_count_faces_to_fluid_and_to_open_sides() -> None:
    system = PressurePoisson(empty_box((3, 3))[None], open_sides=((False, True), (False, False)))
    diagonal = system.matrix().diagonal().reshape(3, 3)
    np.testing.assert_array_equal(diagonal, [[2, 3, 2], [3, 4, 3], [3, 4, 3]])
    solid = empty_box((3, 3))
    solid[1, 1] = False
    assert system.restrict(torch.ones(1, 3, 3)).shape == (1, 9)
    walled = PressurePoisson(solid[None], open_sides=((False, False), (False, False)))
    assert walled.matrix().shape == (8, 8)
    assert walled.matrix().diagonal().tolist() == [2.0] * 8


def test_derivatives_of_the_stencil_are_the_stencil() -> None:
    system = _random_system((4, 4), 3, domains=1)
    field = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(system.apply, (field,))
    assert torch.autograd.gradgradcheck(lambda f: system.apply(f * f), (field,))


def test_components_without_an_open_side_are_counted() -> None:
    fluid = empty_box((8, 8))
    fluid[4] = False
    closed = PressurePoisson(fluid[None], open_sides=((False, False), (False, False)))
    half_open = PressurePoisson(fluid[None])
    whole = PressurePoisson(empty_box((8, 8))[None])
    assert [int(system.n_singular[0]) for system in (closed, half_open, whole)] == [2, 1, 0]
    assert closed.is_singular
    assert not whole.is_singular


def test_the_null_space_of_the_matrix_is_what_the_projection_takes_out() -> None:
    fluid = torch.stack([empty_box((6, 6)), empty_box((6, 6))])
    fluid[0, 3] = False
    fluid[1, 2:4, 2:4] = False
    system = PressurePoisson(fluid, open_sides=((False, False), (False, False)))
    for number, components in enumerate((2, 1)):
        values = np.linalg.eigvalsh(system.matrix(number).toarray())
        assert int((values < 1e-10).sum()) == components == int(system.n_singular[number])
    field = torch.randn(2, 6, 6, dtype=torch.float64)
    projected = system.project(field)
    torch.testing.assert_close(system.project(projected), projected)
    torch.testing.assert_close(system.apply(projected), system.apply(field))
    assert projected[0, :3].sum().abs() < 1e-12
    assert projected[0, 4:].sum().abs() < 1e-12
    assert projected[1].sum().abs() < 1e-12
    assert not projected[1, 2:4, 2:4].any()


@pytest.mark.parametrize("shape", [(16, 16), (8, 8, 8)])
def test_right_hand_sides_are_compatible_with_a_closed_box(shape: tuple[int, ...]) -> None:
    system = PressurePoisson(empty_box(shape)[None], open_sides=((False, False),) * len(shape))
    rhs = smooth_divergence(system, 2, torch.Generator().manual_seed(0))
    assert rhs.shape == (2, *shape)
    assert rhs.flatten(1).sum(1).abs().max() < 1e-12 * rhs.abs().max()
    values = system.restrict(rhs)[0]
    pinned = np.zeros(len(values))
    pinned[1:] = spla.spsolve(system.matrix()[1:, 1:].tocsc(), values[1:])
    np.testing.assert_allclose(system.matrix() @ pinned, values, atol=1e-11 * np.abs(values).max())


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", list(DOMAINS))
def test_domains_keep_their_shape_at_every_resolution(name: str, dim: int) -> None:
    coarse, fine = (domain(name, (size,) * dim).double().mean() for size in (16, 32))
    assert abs(float(coarse - fine)) < 0.06
    assert (float(fine) == 1) == (name == "empty")
    assert not bool((PressurePoisson(domain(name, (16,) * dim)[None]).n_singular > 0).any())


def test_shapes_are_where_they_were_put() -> None:
    assert not bool(ball((10, 10), centre=(0.5, 0.5), radius=0.2)[5, 5])
    assert int((~boxes((10, 10), ranges=[[(0.2, 0.4), (0.5, 1.0)]])).sum()) == 10
    wall = ~wall_with_gap((16, 16))
    assert wall.any(1).nonzero().flatten().tolist() == [7, 8]
    assert not wall[7, 7:9].any()
    first, second = (random_obstacles((16, 16), torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(first, second)


def test_bad_domains_are_refused() -> None:
    with pytest.raises(ValueError, match="domain 1 holds no fluid"):
        PressurePoisson(torch.stack([empty_box((4, 4)), ~empty_box((4, 4))]))
    with pytest.raises(ValueError, match="two sides for each of the 2 axes"):
        PressurePoisson(empty_box((4, 4))[None], open_sides=((True, True),))
    with pytest.raises(ValueError, match="1 domains of"):
        PressurePoisson(empty_box((4, 4))[None]).apply(torch.zeros(1, 4, 5))
    with pytest.raises(ValueError, match="domain 'sphere' is unknown"):
        domain("sphere", (8, 8))
    with pytest.raises(ValueError, match="give two or three"):
        domain("disc", (8,))
