"""DeepONet: it generalises better than a plain network, and an anchored POD branch better still; ridge beside all."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from equipoise.data.executors import Executor, ProcessExecutor, SerialExecutor
from equipoise.papers.deeponet_models import Job, run_job
from equipoise.papers.deeponet_studies import study_figures, study_jobs, study_tables
from equipoise.papers.reproduction import Outcome, Reproduction, Settings, Table

__all__ = ["REPRODUCTION", "run"]

_NONLINEAR = ("nonlinear ODE", "pendulum, T = 3")
_NEAR_LINEAR = ("antiderivative", "pendulum, T = 1")

# Steps of DeepONet at 150 and 1000 functions are those of the specification; ours are as many as take its seconds.
_SIZES: dict[str, dict[str, Any]] = {
    "cpu": {
        "seeds": 3,
        "triples": 10_000,
        "triple_steps": 3000,
        "counts": (50, 100, 200, 400, 800, 1600),
        "pod_steps": {150: 5500, 1000: 3000},
        "deeponet_steps": {150: 10_000, 1000: 4000},
        "pod_curve_steps": 3000,
        "curve_steps": 2500,
        "study_steps": 1500,
        "plane": {"count": 400, "pod_steps": 2000, "deeponet_steps": 1500},
    },
    "gpu": {
        "seeds": 5,
        "triples": 10_000,
        "triple_steps": 50_000,
        "counts": (50, 100, 200, 400, 800, 1600, 3200),
        "pod_steps": {150: 10_000, 1000: 10_000},
        "deeponet_steps": {150: 50_000, 1000: 50_000},
        "pod_curve_steps": 10_000,
        "curve_steps": 50_000,
        "study_steps": 10_000,
        "plane": {"count": 1000, "pod_steps": 10_000, "deeponet_steps": 20_000},
    },
}

_PLANE = (("branch", (100, 100)), ("trunk", (100, 100)), ("n_modes", 100))


_VARIANTS: dict[str, tuple[tuple[str, Any], ...]] = {
    "stacked": (("form", "stacked"),),
    "without bias": (("bias", False),),
}


def run(settings: Settings) -> Outcome:
    """Train all models and compare; see `REPRODUCTION.criterion`."""
    if settings.scale == "smoke":
        return _smoke(settings)
    sizes = _SIZES[settings.scale]
    seeds = [settings.seed + number for number in range(sizes["seeds"])]
    jobs, studies = _jobs(sizes, seeds, full=settings.scale == "gpu"), study_jobs(sizes["study_steps"], settings.seed)
    with ProcessExecutor(2) as executor:
        found = _run([*jobs, *studies.values()], executor, settings)
    figures: dict[str, Any] = {}
    baseline: dict[str, Any] = {}
    tables: list[Table] = []
    verdicts: dict[str, bool] = {}
    for case in _NONLINEAR:
        triples, holds = _compare_triples(case, found)
        figures[f"{case}, one point a function"], baseline[f"{case}, one point a function"] = triples
        verdicts |= {f"{case}: {name}": held for name, held in holds.items()}
    for case in (*_NONLINEAR, *_NEAR_LINEAR):
        for count in sizes["deeponet_steps"]:
            label = f"{case}, {count} functions"
            ours, others = _at_equal_time(case, count, found)
            if ours:
                figures[label], baseline[label] = ours, others
        if case in _NONLINEAR:
            verdicts |= _verdicts(case, figures, baseline)
            figures[f"{case}, errors by functions"], baseline[f"{case}, errors by functions"], curve = _curves(
                case, sizes["counts"], found
            )
            verdicts[f"{case}: error falls at first order or faster"] = curve
    plane = "diffusion-reaction, k = 0.1"
    figures[plane], baseline[plane] = _at_equal_time(plane, sizes["plane"]["count"], found)
    figures["verdicts"] = verdicts
    figures["studies"] = study_figures(studies, found)
    tables += [*_tables(figures, baseline, sizes["counts"]), *study_tables(figures["studies"])]
    return Outcome(figures, baseline, all(verdicts.values()), tables)


def _jobs(sizes: dict[str, Any], seeds: Sequence[int], *, full: bool) -> list[Job]:
    jobs = []
    for case in _NONLINEAR:
        for kind in ("plain_triples", "deeponet_triples"):
            jobs += [
                Job(kind, case, sizes["triples"], sizes["triple_steps"], seed, tests=sizes["triples"]) for seed in seeds
            ]
        for count in sizes["counts"]:
            jobs.append(Job("ridge", case, count))
            jobs.append(Job("pod_linear", case, count, sizes["pod_curve_steps"], seeds[0]))
            jobs.append(Job("deeponet", case, count, sizes["curve_steps"], seeds[0]))
        for count, steps in sizes["deeponet_steps"].items():
            for seed in seeds:
                jobs.append(Job("pod_linear", case, count, sizes["pod_steps"][count], seed))
                jobs.append(Job("deeponet", case, count, steps, seed))
            jobs.append(Job("ridge", case, count))
    for case in _NEAR_LINEAR:
        count = max(sizes["deeponet_steps"])
        jobs.append(Job("ridge", case, count))
        jobs.append(Job("pod_linear", case, count, sizes["pod_steps"][count], seeds[0]))
        jobs.append(Job("deeponet", case, count, sizes["deeponet_steps"][count], seeds[0]))
    plane, case = sizes["plane"], "diffusion-reaction, k = 0.1"
    jobs.append(Job("ridge", case, plane["count"], tests=100))
    jobs.append(Job("pod_linear", case, plane["count"], plane["pod_steps"], seeds[0], tests=100))
    jobs.append(Job("deeponet", case, plane["count"], plane["deeponet_steps"], seeds[0], tests=100, options=_PLANE))
    if full:
        for variant, options in _VARIANTS.items():
            for case in _NONLINEAR:
                jobs += [Job("deeponet", case, 1000, 50_000, seed, options=options, variant=variant) for seed in seeds]
    # The longest first, so that no process waits long for the other at the end.
    return sorted(jobs, key=lambda job: -job.steps * max(job.count, 200))


def _run(jobs: Sequence[Job], executor: Executor, settings: Settings) -> dict[Job, dict[str, Any]]:
    found = {}
    for number, answer in executor.map_batches(run_job, jobs):
        job = jobs[number]
        found[job] = answer
        shown = f"{100 * answer['mean']:.3g} %" if "mean" in answer else f"{answer['test']:.2e}"
        settings.report(f"{job.kind}, {job.case}, {job.count} functions, seed {job.seed}: {shown}")
    return found


def _median(found: dict[Job, dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    """Median over seeds of each figure of the jobs with these settings, and the range of the first."""
    wanted.setdefault("variant", "")
    rows = [row for job, row in found.items() if all(getattr(job, name) == value for name, value in wanted.items())]
    if not rows:
        return {}
    first = next(iter(rows[0]))
    figures = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    values = [row[first] for row in rows]
    return {**figures, "lowest": min(values), "highest": max(values), "trainings": len(rows)}


def _compare_triples(
    case: str, found: dict[Job, dict[str, Any]]
) -> tuple[tuple[dict[str, Any], dict[str, Any]], dict[str, bool]]:
    ours = _median(found, kind="deeponet_triples", case=case)
    plain = _median(found, kind="plain_triples", case=case)
    holds: dict[str, bool] = {}
    for kind in ("", "fresh_"):
        holds |= {
            _on(kind, "test error below that of a plain network"): ours[f"{kind}test"] < plain[f"{kind}test"],
            _on(kind, "generalisation gap below that of a plain network"): ours[f"{kind}gap"] < plain[f"{kind}gap"],
        }
    return (ours, plain), holds


def _at_equal_time(
    case: str, count: int, found: dict[Job, dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    others = {kind: _median(found, kind=kind, case=case, count=count) for kind in ("deeponet", "ridge")}
    for variant in _VARIANTS:
        name = f"deeponet, {variant}"
        others[name] = _median(found, kind="deeponet", case=case, count=count, variant=variant)
    return _median(found, kind="pod_linear", case=case, count=count), {k: row for k, row in others.items() if row}


def _verdicts(case: str, figures: dict[str, Any], baseline: dict[str, Any]) -> dict[str, bool]:
    many, few = f"{case}, 1000 functions", f"{case}, 150 functions"
    verdicts = {
        f"{case}: DeepONet had as much time": all(
            baseline[label]["deeponet"]["seconds"] >= 0.9 * figures[label]["seconds"] for label in (many, few)
        ),
    }
    for kind in ("", "fresh_"):
        mean = f"{kind}mean"
        best = min(row[mean] for row in baseline[few].values())
        verdicts |= {
            f"{case}: {_on(kind, '4 times below DeepONet with 1000 functions')}": 4 * figures[many][mean]
            <= baseline[many]["deeponet"][mean],
            f"{case}: {_on(kind, 'not worse than DeepONet and ridge with 150 functions')}": figures[few][mean] <= best,
        }
    return verdicts


def _on(kind: str, criterion: str) -> str:
    return f"{criterion}, on fresh functions" if kind else criterion


def _curves(
    case: str, counts: Sequence[int], found: dict[Job, dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """Errors by number of functions, and the order of the fall after the first fast phase."""
    kinds = ("pod_linear", "deeponet", "ridge")
    curves = {kind: [_median(found, kind=kind, case=case, count=n)["mean"] for n in counts] for kind in kinds}
    fresh = [_median(found, kind="pod_linear", case=case, count=n)["fresh_mean"] for n in counts]
    rates = {kind: _order(counts[2:], errors[2:]) for kind, errors in curves.items()}
    ours: dict[str, Any] = {"functions": list(counts), "mean": curves["pod_linear"], "order": rates["pod_linear"]}
    ours |= {"fresh_mean": fresh, "fresh_order": _order(counts[2:], fresh[2:])}
    others = {kind: {"mean": curves[kind], "order": rates[kind]} for kind in ("deeponet", "ridge")}
    return ours, others, min(ours["order"], ours["fresh_order"]) >= 1


def _order(counts: Sequence[int], errors: Sequence[float]) -> float:
    """Least-squares slope of the log error against the log of the number, with its sign changed."""
    x, y = [math.log(count) for count in counts], [math.log(error) for error in errors]
    return -statistics.linear_regression(x, y).slope


def _tables(figures: dict[str, Any], baseline: dict[str, Any], counts: Sequence[int]) -> list[Table]:
    header = ["test / train mean square error", "DeepONet", "plain network", "gap: DeepONet", "plain network"]
    rows = []
    for case in _NONLINEAR:
        label = f"{case}, one point a function"
        pair = (figures[label], baseline[label])
        shown = [f"{row['test']:.2e} / {row['train']:.2e}" for row in pair]
        rows.append([case, *shown, *(f"{row['gap']:.1e} ({row['ratio']:.2f})" for row in pair)])
    header.append("test on fresh functions")
    for row, case in zip(rows, _NONLINEAR, strict=True):
        label = f"{case}, one point a function"
        row.append(f"{figures[label]['fresh_test']:.2e}, {baseline[label]['fresh_test']:.2e}")
    triples = Table("10,000 functions, each seen at one random point; medians over seeds", header, rows)
    header = ["mean relative error, %", "ridge map", "DeepONet", "range", "s", "POD + linear", "range", "s"]
    rows = []
    for label, others in baseline.items():
        if "ridge" not in others or "seconds" not in others["ridge"]:
            continue
        cells = [f"{100 * others['ridge']['mean']:.2g}"]
        for row in (others["deeponet"], figures[label]):
            span = f"{100 * row['lowest']:.3g}-{100 * row['highest']:.3g}" if row["trainings"] > 1 else ""
            cells += [f"{100 * row['mean']:.3g}", span, f"{row['seconds']:.1f}"]
        rows.append([label, *cells])
    equal = Table("functions at shared points; medians over seeds, seconds of one thread", header, rows)
    fresh = _fresh_table(figures, baseline)
    header = ["mean relative error, %", *(str(count) for count in counts), "order from the third on"]
    rows = []
    names = {"ridge": "ridge map", "deeponet": "DeepONet"}
    for case in _NONLINEAR:
        label = f"{case}, errors by functions"
        for name, row in (
            *((names[kind], baseline[label][kind]) for kind in names),
            ("POD + linear", figures[label]),
        ):
            rows.append([f"{case}: {name}", *(f"{100 * e:.3g}" for e in row["mean"]), f"{row['order']:.2f}"])
    curves = Table("error by number of training functions, one seed", header, rows)
    verdicts = [[name, "yes" if held else "NO"] for name, held in figures["verdicts"].items()]
    return [triples, equal, fresh, curves, Table("criteria", ["criterion", "held"], verdicts)]


def _fresh_table(figures: dict[str, Any], baseline: dict[str, Any]) -> Table:
    """The same trainings on functions that were drawn after the recipe was fixed."""
    header = ["on fresh functions: mean relative error, %", "ridge map", "DeepONet", "POD + linear", "DeepONet / ours"]
    rows = []
    for label, others in baseline.items():
        if "seconds" not in others.get("ridge", {}):
            continue
        errors = [others["ridge"]["fresh_mean"], others["deeponet"]["fresh_mean"], figures[label]["fresh_mean"]]
        rows.append([label, *(f"{100 * error:.3g}" for error in errors), f"{errors[1] / errors[2]:.3g}"])
    return Table("the same networks on functions drawn after the recipe was fixed", header, rows)


def _smoke(settings: Settings) -> Outcome:
    """The antiderivative, 100 functions: a linear operator, on which nothing beats ridge regression."""
    case, count = "antiderivative", 100
    jobs = [
        Job("ridge", case, count),
        Job("deeponet", case, count, 1000, settings.seed),
        Job("pod_linear", case, count, 500, settings.seed),
    ]
    found = _run(jobs, SerialExecutor(), settings)
    ours, others = _at_equal_time(case, count, found)
    held = ours["mean"] < others["deeponet"]["mean"] and others["ridge"]["mean"] < 1e-7
    rows = [[name, f"{100 * row['mean']:.2g}"] for name, row in {**others, "POD + linear": ours}.items()]
    table = Table("antiderivative, 100 functions", ["mean relative error, %", ""], rows)
    return Outcome({case: ours}, {case: others}, held, [table])


REPRODUCTION = Reproduction(
    slug="deeponet",
    title="DeepONet",
    source="Lu, Jin and Karniadakis, arXiv 1910.03193 (2019)",
    claim=(
        "DeepONet's test error and generalisation gap are smaller than a plain network's on the same triples, and its "
        "error falls fast with data; POD modes with a linear map and an anchored network do better at equal time."
    ),
    criterion=(
        "On the nonlinear ODE with |s| < 5 and the pendulum at T = 3, medians of 3 seeds: test error and gap of "
        "DeepONet below those of a plain network on 10,000 triples; POD + linear at least 4 times below DeepONet with "
        "1000 functions at equal time on one thread, not worse than the better of DeepONet and ridge with 150, and "
        "falling at least at first order in the number of functions from 200 on; all of it both on the test functions "
        "that the recipe was chosen on and on fresh ones. Ridge regression stands beside every case."
    ),
    run=run,
    paper={
        "antiderivative": {"train_mse": 6.3e-7, "test_mse": 9.3e-7, "steps": 50_000, "triples": 10_000},
        "convergence": "polynomial, of order one half to four, and exponential for small sets",
    },
)
