"""
Canonical JSON, attacked: by the examples that RFC 8785 publishes, by whoever else implements it, and by its own two laws.

The numbers are those of its appendix B, bit pattern by bit pattern; the document and its bytes, of sections 3.2.2 to 3.2.4.
"""

import json
import struct
from math import inf, isfinite, nan
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redstep_spec.canonical_json import DEPTH_MAX, INTEGER_MAX, NotCanonical, canonical, canonical_text

NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
DOCUMENT = r"""{
    "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
    "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
    "literals": [null, true, false]
}"""
DOCUMENT_BYTES = """
    7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72 75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73
    22 3a 5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31 65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31
    65 2d 32 37 5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30 30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c
    22 2f 22 7d
"""
SORTED = ("\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33")
"""By UTF-16 code units: a name beyond the first plane comes before the last ones of that plane."""


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_a_number_is_written_as_ecmascript_does(bits: str, text: str) -> None:
    """RFC 8785, appendix B."""
    [number] = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text.encode("ascii")


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_what_is_no_number_is_refused(number: float) -> None:
    """Neither as a value, nor in what calls itself JSON."""
    with pytest.raises(NotCanonical):
        canonical({"a": [number]})
    with pytest.raises(NotCanonical):
        canonical_text(json.dumps([number]))


def test_the_document_of_the_rfc() -> None:
    """RFC 8785, sections 3.2.2 to 3.2.4."""
    assert canonical_text(DOCUMENT) == bytes.fromhex(DOCUMENT_BYTES)


def test_names_are_sorted_by_utf_16_code_units() -> None:
    """RFC 8785, section 3.2.3; in the order of code points the last two would change places."""
    assert list(json.loads(canonical(dict.fromkeys(reversed(SORTED), 1)))) == list(SORTED)
    assert sorted(SORTED) != list(SORTED)
    assert canonical({"10": 10, "2": 2, "": 0}) == b'{"":0,"10":10,"2":2}'


def test_names_are_sorted_at_every_depth_and_lists_are_not() -> None:
    """RFC 8785, section 3.2.3."""
    assert canonical([{"b": [3, 1, 2], "a": {"d": 1, "c": 2}}]) == b'[{"a":{"c":2,"d":1},"b":[3,1,2]}]'


def test_only_what_must_be_escaped_is() -> None:
    """RFC 8785, section 3.2.2.2: the short forms, then lower-case digits, and everything else as it is."""
    assert canonical('\b\t\n\f\r"\\/\x00\x1f\x7f\u2028\u00e9\U0001f600') == (
        b'"\\b\\t\\n\\f\\r\\"\\\\/\\u0000\\u001f\x7f' + "\u2028\u00e9\U0001f600".encode() + b'"'
    )


@pytest.mark.parametrize("number", [INTEGER_MAX, -INTEGER_MAX, 0, 1, -1])
def test_an_integer_is_written_as_it_is(number: int) -> None:
    """Up to 2^53 - 1 either way."""
    assert canonical(number) == canonical_text(str(number)) == str(number).encode("ascii")


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**53 + 1, 10**400, -(10**4000)])
def test_an_integer_without_a_double_of_its_own_is_refused(number: int) -> None:
    """The first of them has one, but its neighbour is read as it."""
    with pytest.raises(NotCanonical):
        canonical(number)


@pytest.mark.parametrize("text", ["9007199254740992", "-9007199254740992", "1" + "0" * 5000])
def test_an_integer_in_a_text_is_one_without_fraction_and_exponent(text: str) -> None:
    """Written with an exponent or a fraction the same number is a double."""
    with pytest.raises(NotCanonical):
        canonical_text(text)


@pytest.mark.parametrize(("text", "written"), [("9007199254740992.0", "9007199254740992"), ("1e20", "1" + "0" * 20)])
def test_a_double_may_be_larger(text: str, written: str) -> None:
    """So what comes out is not always something that may go in."""
    assert canonical_text(text) == written.encode("ascii")
    with pytest.raises(NotCanonical):
        canonical_text(written)


@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '[{"b":{"a":1,"c":2,"a":3}}]'])
def test_a_duplicate_name_is_refused(text: str) -> None:
    """Escaped or not, at every depth, with the same value or another."""
    with pytest.raises(NotCanonical):
        canonical_text(text)


@pytest.mark.parametrize("value", ["\ud800", "a\udfff", ["\udc00\ud800"], {"\ud800": 1}, {"a": {"b\udc00": 1}}])
def test_a_lone_surrogate_is_refused(value: Any) -> None:
    """In a string and in a name; a pair of them, escaped in a text, is one character."""
    with pytest.raises(NotCanonical):
        canonical(value)
    with pytest.raises(NotCanonical):
        canonical_text(json.dumps(value))
    assert canonical_text('"\\ud83d\\ude00"') == '"\U0001f600"'.encode()


class Text(str):
    """A string, and more."""


@pytest.mark.parametrize(
    "value", [b"a", (1,), {1}, object(), 1j, {1: 2}, {None: 1}, {"a": 1, b"b": 2}, Text("a"), [[Text("a")]]]
)
def test_what_is_no_value_of_json_is_refused(value: Any) -> None:
    """Nothing is guessed: a tuple is no list, a subclass of str is no str, and names are strings."""
    with pytest.raises(NotCanonical):
        canonical(value)


@pytest.mark.parametrize(
    "text", ["", " ", "{", "[1,]", "'a'", "01", "+1", ".5", "1.", "tru", "1 2", '"\n"', "\ufeff1", "{a:1}"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """RFC 8259."""
    with pytest.raises(NotCanonical):
        canonical_text(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_nesting_has_a_bound(opening: str, closing: str) -> None:
    """A hundred deep is good, one more is not, and a hundred thousand is no worse than that."""
    per_layer = opening.count("{") + opening.count("[")
    layers = DEPTH_MAX // per_layer
    assert canonical_text(opening * layers + "1" + closing * layers)
    for too_deep in (layers + 1, 100_000):
        with pytest.raises(NotCanonical):
            canonical_text(opening * too_deep + "1" + closing * too_deep)


# ---------------------------------------------------------------------------------------------- the two laws


integers = st.integers(-INTEGER_MAX, INTEGER_MAX)
finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | integers | finite | st.text()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same to JSON: True is no 1, but 1.0 is."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


@given(values)
@example(-0.0)
@example([1e16, 5e-324, 123456789.125])
def test_nothing_is_lost(value: Any) -> None:
    """What is written is read as the value that it was, by a reader whose numbers are all doubles."""
    assert same(json.loads(canonical(value), parse_int=float), value)


@given(values, st.randoms(use_true_random=False))
def test_equal_values_have_equal_bytes(value: Any, shuffle: Any) -> None:
    """In whatever order the names came, and however the text was written."""
    assert canonical(shuffled(value, shuffle)) == canonical(value)
    for ascii_only in (True, False):
        assert canonical_text(json.dumps(value, ensure_ascii=ascii_only, indent=1)) == canonical(value)


def shuffled(value: Any, shuffle: Any) -> Any:
    """The same with its names in another order."""
    if isinstance(value, list):
        return [shuffled(each, shuffle) for each in value]
    if not isinstance(value, dict):
        return value
    names = list(value)
    shuffle.shuffle(names)
    return {name: shuffled(value[name], shuffle) for name in names}


@given(st.binary(min_size=8, max_size=8))
def test_a_number_has_the_fewest_digits_that_tell_it(bits: bytes) -> None:
    """Whatever its bits: it is read as itself, and with one digit less it is not."""
    [number] = struct.unpack(">d", bits)
    if not isfinite(number):
        return
    text = canonical(number).decode("ascii")
    assert float(text) == number
    digits = len(text.partition("e")[0].replace(".", "").replace("-", "").strip("0"))
    if digits > 1:
        assert float(f"{number:.{digits - 2}e}") != number


# ---------------------------------------------------------------------------------------------- somebody else's


@given(values)
def test_somebody_else_writes_the_same(value: Any) -> None:
    """The package `rfc8785`, where it is installed."""
    rfc8785 = pytest.importorskip("rfc8785")
    assert canonical(value) == rfc8785.dumps(value)


@given(st.recursive(leaves | st.integers() | st.floats(), lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_somebody_else_refuses_the_same(value: Any) -> None:
    """The package `rfc8785`, where it is installed: large integers, NaN and infinities."""
    rfc8785 = pytest.importorskip("rfc8785")
    try:
        theirs = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError:
        theirs = None
    try:
        ours = canonical(value)
    except NotCanonical:
        ours = None
    assert ours == theirs
