"""Faults for the audit chain: each is caught by lockstep under its rule."""

from redstep.audit_chain import BATCH, CAS, SERVER_ORDER
from redstep_check.targets.planted import Fault


def _script(name: str, rule: str, script: str, old: str, new: str, variant: str = CAS) -> Fault:
    return Fault(name=name, rule=rule, file=f"audit_chain_{script}.lua", old=old, new=new, variant=variant)


def _python(name: str, rule: str, module: str, old: str, new: str, variant: str = CAS) -> Fault:
    return Fault(name=name, rule=rule, file=f"redstep.audit_chain_{module}", old=old, new=new, variant=variant)


FAULTS = (
    # the compare-and-set
    _script(
        "the head not set",
        "AC-3",
        "append",
        "call('SET', head_key, string.format('%.0f', next_seq) .. ' ' .. base_seq .. ' ' .. hash)\n",
        "if next_seq == 1 then call('SET', head_key, string.format('%.0f', next_seq) .. ' ' .. base_seq .. ' ' .. hash) end\n",
    ),
    _script(
        "the record not pushed",
        "AC-3",
        "append",
        "if count == 1 then call('RPUSH', records, record)",
        "if count == 1 then if first ~= 2 then call('RPUSH', records, record) end",
    ),
    _script("a mismatch answered as success", "AC-3", "append", "then answer = 4 end", "then answer = 1 end"),
    _script(
        "the previous hash not compared",
        "AC-3",
        "append",
        "if first ~= next_seq or previous ~= end_hash then",
        "if first ~= next_seq then",
    ),
    _script(
        "nothing compared",
        "AC-3",
        "append",
        "if first ~= next_seq or previous ~= end_hash then",
        "if first < base then",
    ),
    _script("a repetition not found", "AC-4", "append", "then answer = 2 end", "then answer = 4 end"),
    _script(
        "a repetition found by its seq",
        "AC-3",
        "append",
        "if known ~= '' and hash_of(known) == hash_of(record) then",
        "if known ~= '' then",
    ),
    _script("the base ignored", "AC-4", "append", "first < base and 3 or 5", "5"),
    _script(
        "a lost end not noticed",
        "AC-11",
        "append",
        "local answer = first < base and 3 or 5",
        "local answer = first < base and 3 or 4",
    ),
    _script("a head without a list taken for nothing", "AC-8", "append", "  if head then\n", "  if head and last then\n"),
    _script(
        "the length not compared by the quick way",
        "AC-8",
        "append",
        "and length == first - base_hint",
        "and length > 0",
    ),
    _script("the last hash not compared", "AC-8", "append", "next_seq - 1 or hex(hash_of(last)) ~= end_hash)", "next_seq - 1)"),
    _script(
        "records that die",
        "CM-3",
        "append",
        "local next_seq = first + count\n",
        "local next_seq = first + count\ncall('PEXPIRE', records, 3600000)\n",
    ),
    _script("the head as it was replied", "AC-3", "append", "return {1, next_seq, ", "return {1, first, "),
    # batches
    _script(
        "a batch partly applied",
        "AC-7",
        "append",
        "call('RPUSH', records, unpack(ARGV, 8))",
        "call('RPUSH', records, ARGV[8])",
        BATCH,
    ),
    _script(
        "a batch pushed from its end",
        "AC-3",
        "append",
        "else call('RPUSH', records, unpack(ARGV, 8)) end",
        "else for i = #ARGV, 8, -1 do call('RPUSH', records, ARGV[i]) end end",
        BATCH,
    ),
    _python(
        "a batch each linked to the end",
        "AC-7",
        "appending",
        "seq, previous = seq + 1, records[-1].hash",
        "seq = seq + 1",
        BATCH,
    ),
    _script(
        "a batch found by its first",
        "AC-4",
        "append",
        "hash_of(known) == hash_of(record)",
        "hash_of(rival) == hash_of(record)",
        BATCH,
    ),
    # linked by the engine
    _script(
        "a known append id forgotten", "AC-4", "append_next", "if its_seq then\n", "if its_seq and false then\n", SERVER_ORDER
    ),
    _script(
        "append ids not kept",
        "AC-4",
        "append_next",
        "redis.call('HSET', KEYS[3], append_id, format('%.0f', next_seq))\n",
        "",
        SERVER_ORDER,
    ),
    _script("since ignored", "AC-4", "append_next", "if base_seq > since then", "if base_seq < 0 then", SERVER_ORDER),
    _script(
        "a shorter chain not noticed",
        "AC-11",
        "append_next",
        "if since > next_seq or had ~= previous then",
        "if since <= next_seq and had ~= previous then",
        SERVER_ORDER,
    ),
    _script(
        "another chain not noticed",
        "AC-11",
        "append_next",
        "if since > next_seq or had ~= previous then",
        "if since > next_seq then",
        SERVER_ORDER,
    ),
    _script(
        "the end at since taken for the newest",
        "AC-7",
        "append_next",
        "if since < next_seq then had = ",
        "if false then had = ",
        SERVER_ORDER,
    ),
    _script("hashed without its tag", "AC-2", "append_next", "'redstep.audit-chain\\0\\1' .. header", "header", SERVER_ORDER),
    _script(
        "the event hashed, not its digest", "AC-2", "append_next", ".. header .. digest)", ".. header .. event)", SERVER_ORDER
    ),
    # seals
    _script("a seal that keeps none", "AC-12", "seal", "if upto > next_seq - keep then", "if upto > next_seq - 1 then"),
    _script(
        "a base that does not move",
        "AC-12",
        "seal",
        "redis.call('SET', KEYS[2], text_of(next_seq) .. ' ' .. text_of(base_seq) ..",
        "redis.call('SET', KEYS[2], text_of(next_seq) .. ' ' .. text_of(base_seq - removed) ..",
    ),
    _script(
        "one record too many sealed",
        "AC-12",
        "seal",
        "redis.call('LTRIM', KEYS[1], removed, -1)",
        "redis.call('LTRIM', KEYS[1], removed + 1, -1)",
    ),
    _script("append ids left behind", "AC-1", "seal", "if #ids > 0 then", "if #ids > 500 then", SERVER_ORDER),
    # pages
    _script("a page from one too far", "AC-9", "read", "from - base_seq, {}, 0, false", "from - base_seq + 1, {}, 0, false"),
    # writers
    _python(
        "linked anew after an ambiguous error",
        "AC-4",
        "appending",
        "        was_ambiguous, reply = yield from answered(request, patience, appending)\n"
        "        answer = understood(read_append, reply)\n",
        "        try:\n"
        "            was_ambiguous, reply = False, (yield request)\n"
        "        except Exception:\n"
        "            memory.head, appending.records = None, ()\n"
        "            continue\n"
        "        answer = understood(read_append, reply)\n",
    ),
    _python(
        "an append id drawn anew when it is linked anew",
        "AC-1",
        "appending",
        "        appending.records = ()\n",
        "        appending.records = ()\n"
        "        appending.items = tuple(Item(item.append_id[::-1], item.event) for item in appending.items)\n",
    ),
    _python(
        "a refusal after an ambiguous error called definite",
        "AC-4",
        "sending",
        "what.ambiguous = in_doubt or not definite\n            if definite and not in_doubt:",
        "what.ambiguous = not definite\n            if definite:",
    ),
    _python("an ambiguous error called definite", "CM-4", "sending", 'and getattr(error, "definite", True)', "and True"),
    _python(
        "linked anew though it may be sealed",
        "AC-4",
        "appending",
        'if answer.kind is Kind.SEALED and was_ambiguous:\n            raise GaveUp(Sealed(f"the chain begins',
        'if answer.kind is Kind.SEALED and not was_ambiguous:\n            raise GaveUp(Sealed(f"the chain begins',
    ),
    _python(
        "a retry too few",
        "AC-5",
        "appending",
        "if conflicts > chain.conflict_retries:",
        "if conflicts >= chain.conflict_retries:",
    ),
    _python(
        "a retry too many",
        "AC-5",
        "appending",
        "if conflicts > chain.conflict_retries:",
        "if conflicts > chain.conflict_retries + 1:",
    ),
    _python(
        "linked on silently",
        "AC-11",
        "appending",
        "        if answer.kind is Kind.REGRESS:\n            raise GaveUp(\n",
        "        if answer.kind is None:\n            raise GaveUp(\n",
    ),
    # bytes
    _python(
        "hashed without its seq",
        "AC-2",
        "encoding",
        "header = opening(chain_id) + _LINK.pack(seq,",
        "header = opening(chain_id) + _LINK.pack(0,",
    ),
    _python("hashed without its chain", "AC-2", "encoding", "header = opening(chain_id) + _LINK", "header = _LINK"),
    _python(
        "one genesis for all chains", "AC-2", "encoding", "TAG + GENESIS + opening(chain_id)", 'TAG + GENESIS + opening(b"")'
    ),
    _python(
        "an event encoded again",
        "AC-1",
        "encoding",
        "return opening(record.chain_id) + link + record.hash + record.event",
        "return opening(record.chain_id) + link + record.hash + record.event.decode().encode('ascii', 'backslashreplace')",
    ),
    _python(
        "keys in the order in which they were given",
        "AC-1",
        "events",
        "encoded: bytes = encoder().dumps(event)",
        'encoded = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()',
    ),
    _python("a key given twice", "AC-1", "events", "if len(found) < len(pairs):", "if len(found) < 0:"),
    # verification
    _python(
        "hashes not computed again", "AC-9", "verification", "if record.hash != true_hash(record):", "if record.hash == b'':"
    ),
    _python(
        "records of other chains taken",
        "AC-9",
        "verification",
        "if record.chain_id != self.chain_id:",
        "if record.chain_id == b'':",
    ),
    _python(
        "links not compared",
        "AC-9",
        "verification",
        "if self.previous not in (None, record.previous):",
        "if record.previous == b'':",
    ),
    _python(
        "what comes later not looked at",
        "AC-9",
        "verification",
        "self.why is not None and self.why is not Break.REMOVED",
        "self.why is not None",
    ),
    _python(
        "the head not compared",
        "AC-9",
        "verification",
        "if (self.seq, self.previous) != (head.next_seq, head.hash_bytes):",
        "if self.seq > head.next_seq:",
    ),
    _python(
        "an anchor not compared",
        "AC-10",
        "verification",
        "self.met.get(size, self.known[size]) != self.known[size]",
        "self.met.get(size, b'') == b''",
    ),
    _python(
        "a shorter chain not told by its anchor",
        "AC-10",
        "verification",
        "            if size > self.seq:\n",
        "            if size > self.seq + 1:\n",
    ),
    _python(
        "verified without an anchor",
        "AC-10",
        "verification",
        "sound = Integrity.VERIFIED if compared else",
        "sound = Integrity.VERIFIED if compared is not False else",
    ),
    _python(
        "an append that may be sealed told as not appended",
        "AC-6",
        "appending",
        "verdict = AppendUnknown if appending.ambiguous else NotAppended",
        "verdict = AppendUnknown if appending.ambiguous and not isinstance(cause, Sealed) else NotAppended",
    ),
)
