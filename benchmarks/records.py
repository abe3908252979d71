"""Measure `coordexp data check` and `data prepare` beside another state of the code.

    python benchmarks/records.py --beside ../old/src    some minutes of one core
    python benchmarks/records.py --quick                small, this state alone

Each is a process of its own, the command as it is typed, start included, on records without
pictures. States take turns; medians over the rounds, of the ratio that of the pairs. A table goes
to standard output, and with the machine's name to `benchmarks/results/`.
"""

import argparse
import tempfile
from pathlib import Path

from beside import ROUNDS, add_arguments, measure, states
from check import write_records
from results import processor, results_path, write_results


def main() -> None:
    """Write the records, run the commands, and keep the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    given = parser.parse_args()
    count = 200 if given.quick else 20_000
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("boxes in pixels", "boxes in tokens", "polygons in pixels"):
            path = Path(folder) / f"{kind}.jsonl"
            write_records(path, kind, count)
            cases = {f"check, {kind}": ("data", "check", str(path), "--no-images")}
            if kind == "boxes in pixels":
                out = Path(folder) / "out.jsonl"
                options = ("--workers", "1", "--overwrite")
                cases["prepare"] = ("data", "prepare", str(path), str(out), *options)
            for name, command in cases.items():
                rows[name] = measure(states(given), command)
                print(name, rows[name], flush=True)
    if not given.quick:
        content = {"machine": processor(), "records": count, "rounds": ROUNDS}
        write_results(results_path("records"), content | {"beside": given.state, "cpu": rows})


if __name__ == "__main__":
    main()
