"""Two-scale simulation: micro models, certificates and the macroscale solver; no element kernels.

Start reading at `micro.py` and `macroscale.py`."""
