"""Small-strain mechanics of a periodic unit cell: materials, the cell, its solver, and its reduced problems.

Start reading at `cell.py`."""
