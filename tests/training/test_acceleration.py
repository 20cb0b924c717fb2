"""Several trainings in one process, each with a precision of its own."""

from __future__ import annotations

import pytest
import torch

from equipoise.training.acceleration import _Accelerated, accelerate


def test_a_training_may_have_another_precision_than_the_one_before() -> None:
    pytest.importorskip("accelerate")
    for precision, kind in (("bf16", "bf16"), ("full", "no"), ("bf16", "bf16")):
        assert _Accelerated(precision, torch.device("cpu"))._accelerator.mixed_precision == kind


def test_half_precision_without_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="fp16"):
        accelerate("fp16", "cpu")
