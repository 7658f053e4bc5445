"""Scopes: two of them never share a key, and none is taken that can't be one (CM-7, ID-9)."""

import hashlib
from enum import Enum, IntEnum

import pytest
import redis.crc
from hypothesis import example, given
from hypothesis import strategies as st

from redstep import Misuse
from redstep.idempotency import Acquired, Policy, Scope, fingerprint

from .stage import Stage

PARTS = ("tenant", "operation", "key")
names = st.text(st.sampled_from("ab:1 ü/-"), min_size=1, max_size=6) | st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="{}"), min_size=1, max_size=20
)
scopes = st.builds(Scope, tenant=names, operation=names, key=names)


@given(scopes, scopes)
@example(Scope(tenant="a", operation="b", key="c:d"), Scope(tenant="a", operation="b:c", key="d"))
@example(Scope(tenant="a:1:b", operation="c", key="d"), Scope(tenant="a", operation="b", key="1:c:d"))
@example(Scope(tenant="1:a", operation="b", key="c"), Scope(tenant="1", operation="a", key="b:c"))
def test_two_scopes_have_two_keys(one: Scope, other: Scope) -> None:
    """Wherever colons and digits stand in them."""
    assert (Policy().key(one) == Policy().key(other)) == (one == other)


@given(scopes, st.sampled_from(["", "redstep:", "idempotency:"]))
def test_the_whole_scope_is_the_hash_tag(scope: Scope, prefix: str) -> None:
    """So that scopes spread over a cluster, and a prefix does not gather them."""
    key = Policy(prefix=prefix).key(scope)
    assert redis.crc.key_slot(key.encode()) == redis.crc.key_slot(scope.tag.encode())


def test_scopes_are_apart_in_the_store(stage: Stage) -> None:
    """A claim of one is no claim of another, whichever part differs; all can be told by a person who looks."""
    store = stage.store()
    for parts in ("acb", "abc", "bac", "a:b", "ab:"):
        scope = Scope(**dict(zip(PARTS, parts, strict=True)))
        assert isinstance(stage.wait(store.claim(scope, parts)), Acquired)
    assert len(stage.admin.keys("*")) == 5
    assert b"redstep:idempotency:{1:a:1:b:c}" in stage.admin.keys("*")


def test_prefixes_are_apart_too(stage: Stage) -> None:
    """Two services that share an engine share no key."""
    scope = Scope(operation="charge", key="1")
    for prefix in ("", "one:", "two:"):
        assert isinstance(stage.wait(stage.store(prefix=prefix).claim(scope, "payload")), Acquired)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("bad", ["", "a" * 513, "ü" * 257, "a\nb", "a{b", "b}", "\ud800", None, 7, b"bytes"])
def test_what_is_no_name_is_misuse(part: str, bad: object) -> None:
    """The argument at fault is named."""
    parts = {**dict.fromkeys(PARTS, "x"), part: bad}
    with pytest.raises(Misuse) as caught:
        Scope(**parts)  # type: ignore[arg-type]
    assert caught.value.argument == part


@pytest.mark.parametrize("good", ["a", "a" * 512, "ü" * 256, " ", ":", "12:"])
def test_what_is_a_name_is_taken(stage: Stage, good: str) -> None:
    """Up to 512 bytes each."""
    scope = Scope(**dict.fromkeys(PARTS, good))
    assert isinstance(stage.wait(stage.store().claim(scope, "payload")), Acquired)


class Operation(str, Enum):  # noqa: UP042  such as are there, which print as Operation.CHARGE
    """The operations of a service."""

    CHARGE = "charge"


class Elsewhere:
    """Another module's."""

    class Operation(str, Enum):  # noqa: UP042
        """They have the same name."""

        CHARGE = "refund"


@pytest.mark.parametrize("part", PARTS)
def test_a_scope_is_of_the_texts_that_were_checked(part: str) -> None:
    """Not of what their types print: two of the same name would share a key (CM-7, ID-9)."""
    own, other = (Scope(**{**dict.fromkeys(PARTS, "x"), part: each.CHARGE}) for each in (Operation, Elsewhere.Operation))
    assert Policy().key(own) != Policy().key(other)
    assert own == Scope(**{**dict.fromkeys(PARTS, "x"), part: "charge"})
    assert type(getattr(own, part)) is str


# --- fingerprints ---------------------------------------------------------------------------------------------------------

parts = st.lists(
    st.binary(max_size=4) | st.text("ab:1", max_size=4) | st.integers(-2, 2) | st.booleans() | st.none(), max_size=4
)


@given(parts, parts)
@example(["ab", "c"], ["a", "bc"])
@example([1], [True])
@example([], [""])
@example(["str:1:a"], ["a"])
def test_two_payloads_have_two_fingerprints(one: list[object], other: list[object]) -> None:
    """Of the same parts the same, and of others another: by type, by value, and by where one part ends."""

    def told(parts: list[object]) -> list[tuple[type, object]]:
        return [(type(part), part) for part in parts]

    assert (fingerprint(*one) == fingerprint(*other)) == (told(one) == told(other))  # type: ignore[arg-type]


def test_a_fingerprint_is_a_sha_256() -> None:
    """Of a form that is written down, so that another language can make the same."""
    written = b"str:1:abytes:1:bint:1:7NoneType:4:None"
    assert fingerprint("a", b"b", 7, None) == hashlib.sha256(written).hexdigest()


class Number(IntEnum):
    """Numbers with names."""

    SEVEN = 7


class Named(int, Enum):
    """Those of another kind, which print as Named.SEVEN."""

    SEVEN = 7


def test_a_derived_type_is_what_its_value_is() -> None:
    """Whatever it prints; and of two enumerations of one name, two values are two."""
    assert fingerprint(Operation.CHARGE) == fingerprint("charge") != fingerprint(Elsewhere.Operation.CHARGE)
    assert fingerprint(Number.SEVEN) == fingerprint(Named.SEVEN) == fingerprint(7)


@pytest.mark.parametrize("part", [1.0, ["a"], {"a": 1}, "\ud800", pytest.param(10**5_000, id="more than Python prints")])
def test_what_has_no_one_form_is_misuse(part: object) -> None:
    """A dict has an order, a float has many spellings, and there are integers that Python does not print."""
    with pytest.raises(Misuse) as caught:
        fingerprint("a", part)  # type: ignore[arg-type]
    assert caught.value.argument == "parts"
