"""Variable projection: the last layers are at their optimum, and the gradient is that of what is left."""

from __future__ import annotations

import pytest
import torch

from equipoise.data.sampling import latin_hypercube, symmetric_box
from equipoise.operators.equino import EquiNO
from equipoise.problems.mechanics.bases import ReducedBases
from equipoise.problems.mechanics.cell import PeriodicCell
from equipoise.problems.mechanics.cubature import Cubature
from equipoise.problems.mechanics.reduced import ReducedProblem
from equipoise.training.equino import train_equino
from equipoise.training.objectives import CoefficientObjective
from equipoise.training.phases import Phase
from equipoise.training.variable_projection import VariableProjection

BOX = symmetric_box(0.04, 3)

Reduced = tuple[PeriodicCell, ReducedBases, Cubature]


def begun(reduced: Reduced, *, is_odd: bool) -> tuple[EquiNO, CoefficientObjective]:
    cell, bases, cubature = reduced
    problem = ReducedProblem.on_cubature(cell, bases, cubature)
    strain = latin_hypercube(40, BOX, seed=1)
    labelled = CoefficientObjective(problem, strain)
    model = EquiNO(n_displacement_modes=5, n_stress_modes=5, hidden=(6, 8), seed=2, is_odd=is_odd)
    model.set_input_scale(BOX[1])
    slopes = problem.slopes_at_zero()
    model.fit_scales(strain, labelled.displacement, labelled.stress, bases.homogenised_modes, slopes=slopes)
    return model, labelled


@pytest.mark.parametrize("is_odd", [True, False])
def test_projection_finds_the_last_layers_whatever_they_were(reduced: Reduced, is_odd: bool) -> None:
    model, labelled = begun(reduced, is_odd=is_odd)
    objective = VariableProjection(labelled, model)
    terms = objective(model, None)
    before = {name: float(term.detach()) for name, term in terms.items()}
    with torch.no_grad():
        for branch in (model.displacement_branch, model.stress_branch):
            branch.network.weights[-1].mul_(1.7)
    objective.project()
    assert {name: float(term.detach()) for name, term in objective(model, None).items()} == before


def test_the_loss_is_the_least_over_last_layers_when_all_samples_share_one_hessian(reduced: Reduced) -> None:
    model, labelled = begun(reduced, is_odd=True)
    for factor in (labelled.displacement_factor, labelled.stress_factor, labelled.homogenised):
        factor.copy_(factor[:1].expand_as(factor).clone())
    terms = VariableProjection(labelled, model)(model, None)
    exact = labelled(model, None)
    assert float(terms["displacement_gap"].detach()) == pytest.approx(float(exact["displacement_gap"].detach()))
    both = float((exact["stress_gap"] + exact["homogenised_stress"]).detach())
    assert float(terms["stress_gap"].detach()) == pytest.approx(both)
    last = [model.displacement_branch.network.weights[-1], model.stress_branch.network.weights[-1]]
    for gradient, weight in zip(torch.autograd.grad(sum(exact.values()), last), last, strict=True):
        assert float((gradient * weight).abs().max()) < 1e-6 * both


@pytest.mark.parametrize("is_odd", [True, False])
def test_gradient_of_the_other_layers_matches_differences(reduced: Reduced, is_odd: bool) -> None:
    model, labelled = begun(reduced, is_odd=is_odd)
    objective = VariableProjection(labelled, model)
    weight = model.stress_branch.network.weights[0]
    loss = objective(model, None)["stress_gap"]
    (gradient,) = torch.autograd.grad(loss, [weight])
    step = 1e-5
    for place in ((0, 0), (1, 3), (2, 5)):
        values = []
        for sign in (1, -1):
            weight.data[place] += sign * step
            values.append(float(objective(model, None)["stress_gap"].detach()))
            weight.data[place] -= sign * step
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


def test_it_reaches_further_than_descent_on_all_layers(reduced: Reduced) -> None:
    unseen = CoefficientObjective(ReducedProblem.on_cubature(*reduced), latin_hypercube(50, BOX, seed=3))

    def left(objective: str | None, count: int) -> float:
        trained = train_equino(*reduced, box=BOX, n_collocation=count, steps=200, objective=objective)
        return float(sum(unseen(trained.operator, None).values()).detach())

    assert left("variable-projection", 500) < 0.2 * left("coefficients", 500)
    assert left(None, 500) == left("variable-projection", 500)
    # With few strains for each unit the last layer would interpolate them.
    assert left(None, 64) == left("coefficients", 64) < left("variable-projection", 64)


def test_it_is_refused_on_parts_of_the_batch_and_for_the_published_form(reduced: Reduced) -> None:
    phases = [Phase("adam", steps=2, batch_size=4)]
    with pytest.raises(ValueError, match="on the full batch; leave batch_size out"):
        train_equino(*reduced, box=BOX, n_collocation=16, phases=phases, objective="variable-projection")
    train_equino(*reduced, box=BOX, n_collocation=16, phases=phases)
    with pytest.raises(ValueError, match="needs the anchored form; use one of coefficients, gap"):
        train_equino(*reduced, box=BOX, form="paper", objective="variable-projection")
