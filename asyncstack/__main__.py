"""`python -m asyncstack`."""

from asyncstack.cli import main

main()
