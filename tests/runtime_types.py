"""The run-time check of annotations and array shapes that the suite puts on every function of the library."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
