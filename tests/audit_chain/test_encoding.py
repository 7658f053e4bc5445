"""The bytes of a chain: spelled out by hand here, as another language would."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redstep.audit_chain_encoding import (
    Record,
    Unparsable,
    genesis_hash,
    linked,
    page_of,
    parsed,
    record_hash,
    records_of,
    stored,
    true_hash,
)

records = st.builds(
    Record,
    chain_id=st.binary(min_size=1, max_size=512),
    seq=st.integers(0, 2**51),
    previous=st.binary(min_size=32, max_size=32),
    append_id=st.binary(min_size=16, max_size=16),
    hash=st.binary(min_size=32, max_size=32),
    event=st.binary(min_size=1, max_size=64),
)


def test_the_layout_by_hand() -> None:
    """Genesis, record hash and stored record of the first record of a chain."""
    genesis = hashlib.sha256(b"redstep.audit-chain\0" + b"\0" + b"\1" + b"\0\6" + b"orders").digest()
    assert genesis_hash(b"orders") == genesis
    header = b"\1" + b"\0\6" + b"orders" + b"\0\0\0\0\0\0\0\0" + genesis + b"i" * 16
    its_hash = hashlib.sha256(b"redstep.audit-chain\0" + b"\1" + header + hashlib.sha256(b"{}").digest()).digest()
    record = linked(b"orders", 0, genesis, b"i" * 16, b"{}")
    assert record.hash == its_hash
    assert stored(record) == header + its_hash + b"{}"


def test_a_fixed_vector() -> None:
    """Figures that another implementation must come to as well."""
    assert genesis_hash(b"orders").hex() == "1555efc80e4d38c37516e541b51ffefa08c69ae4c882af02bbcee4b44659f969"
    record = linked("caf\u00e9".encode(), 2**40 + 258, bytes(range(32)), bytes(range(16)), b'{"a":1}')
    assert record.hash.hex() == "52d4e237b57ec9fc12a792e67ffb3a6b7478c2ee1b69360a86c04dcc32758ca5"


@given(records)
def test_what_is_stored_is_read_back(record: Record) -> None:
    """Also what states a wrong hash."""
    assert parsed(stored(record)) == record


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_a_page_is_taken_apart(texts: list[bytes]) -> None:
    """Whatever it holds."""
    assert list(records_of(page_of(texts))) == texts


@given(records, st.data())
def test_every_part_is_hashed(record: Record, data: st.DataObject) -> None:
    """Another value of any part is another hash; so is the same bytes divided otherwise."""
    other = data.draw(records)
    parts = [record.chain_id, record.seq, record.previous, record.append_id, record.event]
    others = [other.chain_id, other.seq, other.previous, other.append_id, other.event]
    changed = data.draw(st.integers(0, 4))
    mixed = [*parts[:changed], others[changed], *parts[changed + 1 :]]
    assert (record_hash(*mixed) == true_hash(record)) == (mixed == parts)  # type: ignore[arg-type]
    moved = [record.chain_id + record.event[:1], record.seq, record.previous, record.append_id, record.event[1:]]
    assert (record_hash(*moved) == true_hash(record)) == (not record.event)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [b"", b"\1", b"\1\0\6orders", b"\2" + b"\0" * 100, b"\1\xff\xff" + b"x" * 200])
def test_what_is_no_record_is_unparsable(text: bytes) -> None:
    """Too short, or of another version."""
    with pytest.raises(Unparsable):
        parsed(text)


@pytest.mark.parametrize("page", [b"\0", b"\0\0\0\5abcd", b"\0\0\0\1a\0\0"])
def test_a_page_that_is_cut_off_is_unparsable(page: bytes) -> None:
    """Within a length or within a record."""
    with pytest.raises(Unparsable):
        list(records_of(page))


def test_a_record_without_an_event_is_none() -> None:
    """Its own lengths leave room for one; the shortest has one byte."""
    whole = stored(linked(b"orders", 0, bytes(32), bytes(16), b"1"))
    assert parsed(whole).event == b"1"
    with pytest.raises(Unparsable):
        parsed(whole[:-1])
