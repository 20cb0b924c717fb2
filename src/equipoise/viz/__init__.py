"""Figures, field files and reports, imported late by `papers`, `multiscale` and `cli` only."""
