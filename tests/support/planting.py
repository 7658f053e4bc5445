"""Faults that are planted: whether the check that is there to catch one does."""

from collections.abc import Callable


def fails(check: Callable[[], None]) -> bool:
    """Does a check fail, for another reason than an edit that makes no sense?"""
    try:
        check()
    except BaseException as failure:  # noqa: BLE001  the interruption that the check is about may escape
        return not isinstance(failure, AttributeError | NameError | TypeError)  # those would be the edit's own
    return False
