"""Every named operator: built for any data, rebuilt from its configuration, exported; unknown names refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from equipoise.operators.export import export_operator
from equipoise.operators.registry import OPERATORS, FieldSizes, load_operator, make_operator
from equipoise.spaces import Grid

GRIDS = {"line": Grid((32,), periodic=True), "square": Grid((16, 32)), "cube": Grid((16, 16, 16), periodic=True)}
SMALL = {"fno": 4, "tfno": 4, "mg-tfno": 4, "mgno": 4, "unet": 4, "local-fno": 4}


def built(name: str, grid: Grid) -> torch.nn.Module:
    options = {"width": SMALL[name]} if name in SMALL else {}
    return make_operator(name, FieldSizes(2, 3, grid, grid), **options)


@pytest.mark.parametrize("where", GRIDS)
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_fits_the_data_and_is_rebuilt_from_its_configuration(name: str, where: str) -> None:
    grid = GRIDS[where]
    operator = built(name, grid)
    inputs = torch.randn(2, 2, *grid.shape, generator=torch.Generator().manual_seed(0))
    outputs = operator(inputs)
    assert outputs.shape == (2, 3, *grid.shape)
    again = load_operator(name, json.loads(json.dumps(operator.config)))
    again.load_state_dict(operator.state_dict())
    assert torch.equal(again(inputs), outputs)
    assert operator.double()(inputs.double()).dtype == torch.float64


@pytest.mark.usefixtures("unchecked_types")  # sizes are symbols while a program is traced
@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_is_exported_for_batches_of_any_size(name: str, tmp_path: Path) -> None:
    grid = GRIDS["square"]
    operator = built(name, grid).eval()
    inputs = torch.randn(5, 2, *grid.shape, generator=torch.Generator().manual_seed(0))
    file = export_operator(operator, inputs, tmp_path / "model.pt2")
    found = torch.export.load(file).module()(inputs)
    torch.testing.assert_close(found, operator(inputs), rtol=1e-5, atol=1e-6)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", OPERATORS)
def test_one_seed_gives_one_operator(name: str) -> None:
    first, second = (built(name, GRIDS["line"]) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first.parameters(), second.parameters(), strict=True))


def test_an_operator_on_another_grid_than_its_inputs_has_to_answer_at_points() -> None:
    line, square = Grid((12,)), Grid((8, 12))
    sizes = FieldSizes(1, 1, square, line)
    assert make_operator("deeponet", sizes)(torch.randn(3, 1, 12)).shape == (3, 1, 8, 12)
    with pytest.raises(ValueError, match="only operators with query points"):
        make_operator("fno", sizes)


def test_unknown_names_and_options_are_refused() -> None:
    sizes = FieldSizes(1, 1, GRIDS["line"], GRIDS["line"])
    with pytest.raises(ValueError, match="operator 'fn' is unknown; use one of fno"):
        make_operator("fn", sizes)
    with pytest.raises(ValueError, match="fno has no option 'depth'; it has in_channels"):
        make_operator("fno", sizes, depth=3)
    assert make_operator("fno", sizes, n_modes=6).config["n_modes"] == (6,)
