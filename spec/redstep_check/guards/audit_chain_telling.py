"""The audit chain's moves and answers, as a person would say them."""

from collections.abc import Mapping
from typing import Any

from redstep_check.guards import telling
from redstep_check.guards.audit_chain import Altered, Asked, Linked, Move, Resent, Verified, Wrote
from redstep_spec import audit_chain as store
from redstep_spec.audit_chain_writer import CONFLICTS_MAX, Entry, Mode

LONGEST = 40
"""How many characters of a text are told."""


def tell(move: Move) -> str:
    """A move as a person would say it."""
    match move:
        case Wrote():
            return _tell_write(move)
        case Linked(name, entries, back, rightly):
            where = "at the end" if back == 0 else f"{abs(back)} {'before' if back > 0 else 'beyond'} the end"
            return f"{_events(entries)} linked {where} of {_short(name)}{'' if rightly else ', to a wrong hash'}"
        case Resent(name, ago):
            return f"what was sent to {_short(name)} {'last' if ago == 0 else f'{ago} before the last'} is sent again"
        case Asked(store.Read(name=name, from_seq=from_seq, count=count)):
            return f"read {count!r} of {_short(name)} from {from_seq!r} on"
        case Asked(store.Seal(name=name, upto_seq=upto_seq, keep=keep)):
            return f"seal {_short(name)} up to {upto_seq!r}, keeping {keep!r}"
        case Verified(name, size, honest, copied):
            anchor = "" if size is None else f" by {'the' if honest else 'a forged'} checkpoint at {size}"
            return f"verify {_short(name)}{anchor}{_files(copied)}"
        case Altered(name, how, place):
            return f"in {_short(name)}, at {place}: {how.value}"
    return repr(move)


def _files(copied: int | None) -> str:
    if copied is None:
        return ""
    return " and what was exported" + (f", {copied} more than was sealed" if copied else "")


def _tell_write(move: Wrote) -> str:
    call = move.call
    words = [f"{move.writer} appends {_events(call.entries)}{'' if move.as_text else ' as a value'} to {_short(call.name)}"]
    if call.mode is not Mode.CAS:
        words.append(f"({call.mode.value})")
    if call.conflicts != CONFLICTS_MAX:
        words.append(f"at most {call.conflicts} conflicts")
    if call.resends is not None:
        words.append(f"at most {call.resends} resends")
    if any(call.rivals):
        words.append("after others at attempt " + ", ".join(str(n) for n, rival in enumerate(call.rivals, 1) if rival))
    return " ".join((*words, *telling.tell_fates(move.fates)))


def _events(entries: tuple[Entry, ...]) -> str:
    return " and ".join(_short(entry.event, quoted=False) for entry in entries) or "nothing"


def _short(value: object, *, quoted: bool = True) -> str:
    text = repr(value) if quoted or not isinstance(value, str) else ascii(value)[1:-1]
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}... ({len(text)} characters)"


def tell_answer(answer: object) -> str:
    """What one side says to a move, in a few words."""
    return telling.tell_answer(answer, _tell_values)


def _tell_values(values: Mapping[str, Any]) -> str:
    words = [str(values[name]).replace("_", " ") for name in ("verdict", "outcome", "finding") if name in values]
    words += [f"cause {values['cause']}"] if "cause" in values else []
    words += [f"at {values['position']}"] if values.get("position") is not None else []
    words += [f"{len(values['records'])} records"] if "records" in values else []
    words += [f"seq {values['seq']}"] if "seq" in values else []
    words += [f"seqs {', '.join(map(str, values['seqs']))}"] if "seqs" in values else []
    words += [f"next {values['next_seq']}"] if "next_seq" in values else []
    words += [f"base {values['base_seq']}"] if values.get("base_seq") else []
    return ", ".join(words) or "done"
