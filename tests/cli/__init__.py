"""Tests of the command line; a package, because its modules share names with those of the rooms."""
