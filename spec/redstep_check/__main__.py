"""The command `redstep`, where the kit is installed; elsewhere it says what is missing."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from redstep_check.cli import cli
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0].startswith("redstep"):
            raise
        sys.stderr.write(f"redstep: the kit is not installed ({error.name} is missing): pip install 'redstep[check]'\n")
        sys.exit(2)
    cli()


if __name__ == "__main__":
    main()
