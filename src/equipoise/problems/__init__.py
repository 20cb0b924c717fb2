"""Families of equations: their inputs, reference solutions and residuals; no networks.

`mechanics` is the periodic unit cell of two-scale simulation."""
