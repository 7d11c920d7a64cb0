"""List the studies, or run one: ``python -m benchmarks [NAME [options]]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks.study import all_studies


def main(argv: Sequence[str]) -> None:
    """Run the study that is named first, with the options that follow; or list all."""
    studies = all_studies()
    if argv and argv[0] in studies:
        studies[argv[0]].main(argv[1:])
        return
    for name, study in studies.items():
        print(f"{name:20} {study.about[0]}")
    if argv and argv[0] not in ("-h", "--help"):
        sys.exit(f"There is no study {argv[0]!r}; the names are above.")


if __name__ == "__main__":
    main(sys.argv[1:])
