"""Linear and nonlinear solvers that know no particular equation.

Start reading at `linear/` and `time/`."""
