"""The `equipoise` command: parse, call, print; no mathematics.

Typer and pydantic live only here."""
