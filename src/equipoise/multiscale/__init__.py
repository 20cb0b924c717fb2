"""Two-scale simulation: micro models, certificates and the macroscale solver; no element kernels.

Start reading at `micro.py` and `macroscale.py`."""

from equipoise.multiscale.certificate import Certificate
from equipoise.multiscale.comparison import Comparison, compare_with_full_field
from equipoise.multiscale.constitutive import ConstitutiveModel
from equipoise.multiscale.equino import EquiNOModel
from equipoise.multiscale.evaluation import evaluate_micro
from equipoise.multiscale.full_field import FullFieldRVE
from equipoise.multiscale.full_field_estimate import FullFieldEstimate, estimate_full_field
from equipoise.multiscale.load_stepping import Stepping
from equipoise.multiscale.macroscale import simulate
from equipoise.multiscale.micro import MicroFields, MicroModel, Response, StepCertificate
from equipoise.multiscale.reduced_model import ReducedRVE
from equipoise.multiscale.runs import load_micro, save_micro
from equipoise.multiscale.simulation import LoadStep, LoadStepError, OutsideBoxError, Simulation
from equipoise.multiscale.structure import Load, Region, Structure, Support

__all__ = [
    "Certificate",
    "Comparison",
    "ConstitutiveModel",
    "EquiNOModel",
    "FullFieldEstimate",
    "FullFieldRVE",
    "Load",
    "LoadStep",
    "LoadStepError",
    "MicroFields",
    "MicroModel",
    "OutsideBoxError",
    "ReducedRVE",
    "Region",
    "Response",
    "Simulation",
    "StepCertificate",
    "Stepping",
    "Structure",
    "Support",
    "compare_with_full_field",
    "estimate_full_field",
    "evaluate_micro",
    "load_micro",
    "save_micro",
    "simulate",
]
