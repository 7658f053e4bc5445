"""
The command line.

Exit codes: 0 all holds; 1 a rule is broken; 2 misuse, or no engine; 3 vacuous, a run did not reach what it is about, or of
`verify-chain` that the chain could not be read; 130 interrupted. Whatever else goes wrong ends with 2, so that 1 always means
what it says.
"""

import logging
import sys
import traceback

import click

from redstep_check.commands.check import check
from redstep_check.commands.common import MISUSE, Interrupted
from redstep_check.commands.explore import explore
from redstep_check.commands.listing import list_engines
from redstep_check.commands.replay import replay, timeline
from redstep_check.commands.stress import stress
from redstep_check.commands.verify_chain import verify_chain


class Commands(click.Group):
    """The commands, which end with the documented codes whatever happens."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:  # noqa: BLE001  a flaw of the kit breaks no rule
            traceback.print_exc()
            sys.exit(MISUSE)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="redstep")
def cli() -> None:
    """Hold an implementation of a guard against its executable specification."""
    logging.getLogger("redstep").addHandler(logging.NullHandler())  # what it would log of the faults done to it is no news


for command in (check, explore, stress, replay, timeline, verify_chain, list_engines):
    cli.add_command(command)
