"""What the protocols of all guards share: sending a request, again if that is safe, and reading its reply."""

from typing import Any

from redstep.errors import ServiceOverloaded, Unavailable, UnexpectedReply
from redstep.wishes import CallScript, Protocol

RESENDS_MAX = 1
"""How often an idempotent request is sent again after its outcome was lost."""


def send(request: CallScript) -> Protocol[list[int | bytes]]:
    """Have a request executed; if it is idempotent and its outcome is lost, send the same bytes again.

    Raises Unavailable, definite only if no attempt can have been executed; ServiceOverloaded if none was sent; Corrupt.
    """
    resends_left = RESENDS_MAX if request.idempotent else 0
    maybe_executed = False
    while True:
        try:
            reply: list[int | bytes] = yield request
        except Unavailable as error:
            maybe_executed = maybe_executed or not error.definite
            if error.definite or not resends_left:
                raise Unavailable(error.problem, definite=not maybe_executed, code=error.code) from error
        except ServiceOverloaded as error:
            if not maybe_executed:
                raise
            raise Unavailable("no connection was free to ask again", definite=False) from error
        else:
            return reply
        resends_left -= 1


def words(reply: list[int | bytes], *kinds: type) -> list[Any]:
    """Read a reply of so many integers and strings, each where it belongs; strings are given as str.

    Raises UnexpectedReply if it is anything else.
    """
    read = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in reply]
    if [type(each) for each in read] != list(kinds):
        raise UnexpectedReply(f"a script answered {reply!r} where {', '.join(kind.__name__ for kind in kinds)} belong")
    return read


def integers(reply: list[int | bytes], arity: int) -> list[int]:
    """Read a reply of so many integers.

    Raises UnexpectedReply if it is anything else.
    """
    numbers = [value for value in reply if isinstance(value, int)]
    if len(numbers) != arity or len(reply) != arity:
        raise UnexpectedReply(f"a script answered {reply!r} where {arity} integers belong")
    return numbers
