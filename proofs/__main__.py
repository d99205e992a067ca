"""Proves what the package promises: ``python -m proofs PROOF``, with ``--help`` after each.

Servers are started for the occasion. Exits with 0 if all went as promised.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from proofs import availability, consistency, questions, sharing, walk

PROOFS = {
    "consistency": consistency,
    "availability": availability,
    "questions": questions,
    "sharing": sharing,
    "walk": walk,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a proof. Returns the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m proofs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="proof", metavar="PROOF", required=True)
    for name, module in PROOFS.items():
        description = module.__doc__ or ""
        command = commands.add_parser(
            name,
            help=description.splitlines()[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.add_argument("--output", type=Path, metavar="FILE", help="the report; else on the terminal")
    options = parser.parse_args(given)
    as_promised = PROOFS[options.proof].prove(options, shlex.join(["python", "-m", "proofs", *given]))
    return 0 if as_promised else 1


if __name__ == "__main__":
    sys.exit(main())
