"""`redstep engines`: what there is to run on."""

import json

import attrs
import click

from redstep_check import engines
from redstep_check.commands.common import console, json_option


@click.command("engines")
@json_option
def list_engines(as_json: bool) -> None:
    """List the engines, and why one is missing."""
    found = engines.survey()
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in found], indent=1))
        return
    out = console()
    for each in found:
        out.print(f"{each.name:<10} {'ready  ' if each.available else 'missing'}  {each.detail}", markup=False)
