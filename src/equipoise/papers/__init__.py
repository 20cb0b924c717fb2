"""One module per published method: its claim, its baseline, its scaled experiment and its criterion.

Components live in the rooms below and are imported."""
