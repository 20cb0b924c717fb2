"""The `equipoise` command: finds the subcommand, imports it only then, and turns errors into one sentence.

A subcommand is a function in `equipoise/cli/<module>.py` with Typer's annotations; it is entered in `_COMMANDS` with
one line of help, so that `equipoise --help` imports none of the library.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import click
import typer

from equipoise import __version__
from equipoise.errors import EquipoiseError

__all__ = ["main"]

_COMMANDS: dict[str, tuple[str, str, str]] = {
    "problems": ("problems", "problems", "List the built-in structures, unit cells and families of equations."),
    "homogenize": ("homogenize", "homogenize", "Homogenised stress and tangent of a unit cell at given strains."),
    "generate": ("generate", "generate", "Make a data set: snapshots of a cell, or samples of a family of equations."),
    "data": ("data", "data", "Look at data files, our own and other projects'."),
    "models": ("models", "models", "List what can be trained."),
    "train": ("train", "train", "Train a micro model from snapshots, or an operator from fields."),
    "evaluate": ("evaluate", "evaluate", "Errors of a trained model on samples it has not seen."),
    "predict": ("predict", "predict", "Answers of a trained operator for new inputs, as a file of fields."),
    "export": ("export", "export", "A trained operator as a file that runs without Equipoise."),
    "runs": ("runs", "runs", "Compare trained runs."),
    "simulate": ("simulate", "simulate", "Run a structure with a full-field, learned or constitutive micro model."),
    "reproduce": ("reproduce", "reproduce", "Run a published method's claim and say whether it held."),
    "cite": ("cite", "cite", "Whose work a run or a method rests on, as BibTeX."),
    "demo": ("demo", "demo", "Microstructure to structure in a few minutes, with a report."),
}


# Recent Typer carries a Click of its own, whose exceptions are other classes than Click's.
_TyperUsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class _LazyGroup(click.Group):
    """Group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, function, _ = _COMMANDS[cmd_name]
        loaded = importlib.import_module(f"equipoise.cli.{module}")
        app = getattr(loaded, "app", None)
        if app is None:
            app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
            app.command(name=cmd_name)(getattr(loaded, function))
        command: Any = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry[2]) for name, entry in _COMMANDS.items()])


@click.group(cls=_LazyGroup, help="Solve, learn and embed families of equilibrium problems.")
@click.version_option(__version__, prog_name="equipoise")
@click.option("-v", "--verbose", count=True, help="More messages on standard error; twice for all, with tracebacks.")
@click.option("--laws", multiple=True, type=click.Path(), help="Python file with material laws of your own; it is run.")
def _app(verbose: int, laws: tuple[str, ...]) -> None:
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s: %(message)s")
    if laws:
        from equipoise.problems.mechanics.own_laws import load_laws

        for file in laws:
            load_laws(file)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a criterion did not hold, 2 the input was bad."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        status = _app.main(args=words, prog_name="equipoise", standalone_mode=False)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.exceptions.Abort, typer.Abort):
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except (click.ClickException, _TyperUsageError) as error:
        print(f"error: {' '.join(error.format_message().split())}", file=sys.stderr)
        sys.exit(2)
    except (EquipoiseError, ValueError, TypeError, OSError, ImportError) as error:
        if any(word in ("-vv", "--verbose") for word in words):
            raise
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    sys.exit(status if isinstance(status, int) else 0)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
