"""
What redis-py's errors mean.

Everything from the first byte written to the last byte of the reply read is ambiguous when it fails; everything before, and
every error that the engine itself replies, is definite. So drivers take a connection from the pool first, and send after.
"""

import queue
import re

from redis.exceptions import (
    ConnectionError,  # noqa: A004  redis-py's own, which is no OSError
    MaxConnectionsError,
    RedisError,
    ResponseError,
)

from redstep.errors import Corrupt, Misuse, RedstepError, ServiceOverloaded, Unavailable


def before_sending(error: Exception) -> RedstepError:
    """Tell what it means that no connection could be had."""
    if ran_out(error):
        return ServiceOverloaded("no connection of the pool is free")
    return Unavailable(f"no connection to the store: {error}", definite=True)


def after_sending(error: Exception) -> RedstepError:
    """Tell what an error means that came when the request was on its way."""
    if isinstance(error, ResponseError) or (isinstance(error, RedisError) and error.status_code):
        return replied(error)
    return Unavailable(f"the store's reply was lost: {error or type(error).__name__}", definite=False)


def ran_out(error: BaseException) -> bool:
    """Whether no connection of a pool was free.

    A blocking pool has no error of its own for that: it raises a bare ConnectionError where it caught a timeout, in one frame.
    What somebody else was handling meanwhile, which Python notes on an error as well, was caught elsewhere.
    """
    if isinstance(error, MaxConnectionsError):
        return True
    over = error.__context__
    if type(error) is not ConnectionError or not isinstance(over, queue.Empty | TimeoutError):
        return False
    raised, caught = error.__traceback__, over.__traceback__
    while raised and raised.tb_next:
        raised = raised.tb_next
    return raised is not None and caught is not None and raised.tb_frame is caught.tb_frame


def replied(error: RedisError) -> RedstepError:
    """Tell what an error reply means. Scripts check before they write, so nothing was executed."""
    kind, _, detail = str(error).partition(" ")
    if kind == "ECORRUPT":
        return Corrupt(f"{detail} does not hold what this guard keeps there")
    if kind == "EARG":
        return Misuse(detail, "was refused by the script")
    prefix = f"{error.status_code} " if error.status_code else ""
    return Unavailable(f"the store refused: {prefix}{error}", definite=True, code=code(error))


PLACE = r"(?:Error running script .*?)?@user_script: ?\d+: -?"
COMMAND = r"Command # \d+ .*? of pipeline caused error: "
CODE = re.compile(f"(?:{PLACE}|{COMMAND}|)(?P<code>[A-Z]{{2,}})\\b", re.DOTALL)
CODE_IN_SCRIPT = re.compile(f"{PLACE}(?P<code>[A-Z]{{2,}})\\b", re.DOTALL)
"""Where an error holds its code: first in its text, unless Redis 6 puts a place before it, or a pipeline the command."""


def code(error: RedisError) -> str | None:
    """Return the code of an error reply, such as OOM; redis-py takes some from their texts and leaves others there."""
    if error.status_code not in (None, "ERR"):
        return error.status_code
    found = (CODE_IN_SCRIPT if error.status_code else CODE).match(str(error))
    return found["code"] if found else error.status_code
