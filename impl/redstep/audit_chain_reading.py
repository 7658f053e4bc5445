"""Reading a chain: where it ends, and its records, which are not verified here."""

from redstep.arguments import checked_integer
from redstep.audit_chain import PAGE_RECORDS_MAX, Chain, Head, Page, read, read_page
from redstep.audit_chain_encoding import Record, Unparsable, parsed, records_of
from redstep.errors import Corrupt
from redstep.protocols import send
from redstep.wishes import Protocol


def head(chain: Chain) -> Protocol[Head]:
    """Ask where the chain ends. Raises Unavailable, Corrupt, ServiceOverloaded."""
    page = read_page((yield from send(read(chain, 0, 0))))
    return page.head or Head(0, 0, chain.genesis.hex())


def page_from(chain: Chain, from_seq: int, count: int) -> Protocol[Page]:
    """Read what is stored from a seq or the base on, and the head at that moment. Raises as `head`, and Misuse."""
    checked_integer("from_seq", from_seq, 0)
    checked_integer("count", count, 1, PAGE_RECORDS_MAX)
    return read_page((yield from send(read(chain, from_seq, count))))


def records_from(chain: Chain, from_seq: int, count: int) -> Protocol[tuple[Record, ...]]:
    """Read records. They are not verified, but one that can't be read is Corrupt. Raises as `page_from`."""
    page = yield from page_from(chain, from_seq, count)
    try:
        return tuple(parsed(text) for text in records_of(page.page))
    except Unparsable as error:
        raise Corrupt(f"{chain.keys[0]} holds what is no record: {error}") from error
