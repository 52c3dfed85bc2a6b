"""Upload what W&B wrote offline: every run below the given folders, with its group and tags.

python scripts/sync_wandb.py outputs/multirun/2026-01-31     all sweeps of a day
python scripts/sync_wandb.py SWEEP --entity team --project miner
python scripts/sync_wandb.py SWEEP --dry-run                 lists the runs

Runs that were uploaded before are skipped. The exit status is 1 if a run is left that was not
uploaded. `wandb sync` does the work; group, job type, tags and notes are in the files it reads.
"""

import argparse
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import wandb

TIMEOUT_S = 5.0


def main() -> int:
    """Upload what is still to be uploaded, and print the outcome of each run."""
    options = read_arguments()
    found = find_runs(options.folders)
    waiting = [file for file in found if not is_uploaded(file)]
    print(f"{len(found)} offline runs, {len(found) - len(waiting)} of them uploaded before")
    if options.dry_run:
        print("\n".join(f"would upload  {file.parent}" for file in waiting))
        return 0
    if not waiting:
        return 0
    if obstacle := what_is_missing():
        print(f"{obstacle}; {len(waiting)} runs are not uploaded", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "wandb", "sync"]
    command += [f"--project={options.project}"] if options.project else []
    command += [f"--entity={options.entity}"] if options.entity else []
    subprocess.run([*command, "--", *map(str, waiting)], check=False)
    for file in waiting:
        print(f"{'uploaded     ' if is_uploaded(file) else 'NOT UPLOADED '} {file.parent}")
    left = sum(not is_uploaded(file) for file in waiting)
    if left:
        print(f"{left} runs are not uploaded: see above, and call again", file=sys.stderr)
    return 1 if left else 0


def read_arguments() -> argparse.Namespace:
    """Folders and options of the command line; a folder that does not exist is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="sweeps or runs")
    parser.add_argument("--project", help="instead of the project that the runs name")
    parser.add_argument("--entity", help="team or user, instead of the account's default")
    parser.add_argument("--dry-run", action="store_true", help="only list the runs")
    options = parser.parse_args()
    for folder in options.folders:
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder; name the folder of a sweep or a run")
    return options


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Files of the offline runs below the folders, each once, in order."""
    found = {path for folder in folders for path in folder.rglob("offline-run-*/run-*.wandb")}
    return sorted({path.resolve(): path for path in sorted(found)}.values())


def is_uploaded(file: Path) -> bool:
    """Whether `wandb sync` has marked the file."""
    return file.with_name(f"{file.name}.synced").exists()


def what_is_missing() -> str | None:
    """What an upload lacks: `wandb sync` alone would ask, or try again for hours."""
    server = wandb.setup().settings.base_url
    try:
        urllib.request.urlopen(server, timeout=TIMEOUT_S).close()
    except urllib.error.HTTPError as answer:
        answer.close()
    except OSError as error:
        return f"{server} cannot be reached ({error}); call again with a network"
    if not wandb.login(prompt=False, verify=False):
        return "no W&B account is set up; call `wandb login`, or set WANDB_API_KEY"
    return None


if __name__ == "__main__":
    sys.exit(main())
