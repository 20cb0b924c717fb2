"""`python -m equipoise`, and `torchrun -m equipoise` for several processes: the `equipoise` command."""

from equipoise.cli.main import main

if __name__ == "__main__":
    main()
