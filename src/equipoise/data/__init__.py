"""Making, storing and reading data sets; generation takes the solver as an argument and knows no equation.

Start reading at `store.py`."""
