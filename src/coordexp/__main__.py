"""`python -m coordexp` is the command line."""

from coordexp.cli import main

main()
