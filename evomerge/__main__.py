"""`python -m evomerge` is `evomerge`."""

from evomerge.cli import main

main()
