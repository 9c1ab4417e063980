"""`python cli.py ...` is the `deconvnet` command, from a checkout, without installing."""

from deconvnet.cli import main

if __name__ == "__main__":
    main()
