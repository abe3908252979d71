"""`python -m coordexp` is the command line."""

from coordexp.cli.app import main

main()
