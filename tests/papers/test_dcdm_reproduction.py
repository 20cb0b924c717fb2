"""The smoke scale of the reproduction of deep conjugate directions."""

from __future__ import annotations

from equipoise.papers import Settings, load


def test_smoke_scale_halves_the_iterations_and_never_lets_the_energy_grow() -> None:
    outcome = load("dcdm").run(Settings(scale="smoke"))
    assert outcome.held
    shares = outcome.figures["shares_of_cg"]["16"]
    assert shares["safeguarded"]["empty"] < 0.5
    assert shares["as published"]["empty"] < 0.5
    assert outcome.figures["energy"]["largest_relative_growth"] < 1e-10
    assert set(outcome.baseline) >= {"CG", "IC(0)-CG", "deflated CG, 16"}
    for table in outcome.tables:
        assert all(len(row) == len(table.header) for row in table.rows)
