"""Trainer, phases, objectives and run folders; no model architectures.

Start reading at `trainer.py`."""
