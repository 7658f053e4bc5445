"""
Timelines: a history of concurrent clients, to be looked at, kept, and looked at again.

`text(timeline)` is for a terminal, `page(timeline)` is a file of HTML that needs nothing else, `save` and `load` keep it as
JSON. Each shows the verdict, if there is one: the order that was found, operation by operation, or the one that is stuck, or
where an implementation differs from its specification.
"""

from redstep_check.timelines.files import BadHistory, load, save
from redstep_check.timelines.page import page
from redstep_check.timelines.text import text
from redstep_check.timelines.timeline import Differs, Mark, Sign, Timeline

__all__ = ["BadHistory", "Differs", "Mark", "Sign", "Timeline", "load", "page", "save", "text"]
