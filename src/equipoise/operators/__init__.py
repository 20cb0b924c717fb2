"""Neural operators, one architecture per file; no training loops and no file formats."""
