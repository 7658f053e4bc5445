"""Events: RFC 8785's own examples, and what has no canonical form."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redstep.audit_chain_events import DEPTH_MAX, EVENT_BYTES_MAX, canonical, canonical_text
from redstep.errors import Misuse

SAMPLE = (
    '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
    ' "string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/", "literals": [null, true, false]}'
)
SAMPLE_CANONICAL = (
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
    '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
)
SORTED = (
    '{"\\u20ac": "Euro Sign", "\\r": "Carriage Return", "\\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",'
    ' "\\ud83d\\ude00": "Emoji: Grinning Face", "\\u0080": "Control", "\\u00f6": "Latin Small Letter O With Diaeresis"}'
)
SORTED_CANONICAL = (
    '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis",'
    '"\u20ac":"Euro Sign","\U0001f600":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'
)
NUMBERS = {
    0.0: "0",
    5e-324: "5e-324",
    -5e-324: "-5e-324",
    1.7976931348623157e308: "1.7976931348623157e+308",
    9007199254740992.0: "9007199254740992",
    -9007199254740992.0: "-9007199254740992",
    295147905179352830000.0: "295147905179352830000",
    9.999999999999997e22: "9.999999999999997e+22",
    1e23: "1e+23",
    1.0000000000000001e23: "1.0000000000000001e+23",
    999999999999999700000.0: "999999999999999700000",
    1e21: "1e+21",
    9.999999999999997e-7: "9.999999999999997e-7",
    0.000001: "0.000001",
    333333333.3333332: "333333333.3333332",
    333333333.33333325: "333333333.33333325",
    333333333.3333334: "333333333.3333334",
    333333333.33333343: "333333333.33333343",
    1424953923781206.2: "1424953923781206.2",
}
"""RFC 8785, appendix B."""


def test_the_example_of_the_rfc() -> None:
    """Section 3.2.2 to 3.2.4."""
    assert canonical_text(SAMPLE) == canonical_text(SAMPLE.encode()) == SAMPLE_CANONICAL.encode()


def test_keys_are_sorted_by_utf_16() -> None:
    """Section 3.2.3: an emoji, of two surrogates, comes before a dalet."""
    assert canonical_text(SORTED) == SORTED_CANONICAL.encode()


@pytest.mark.parametrize(("number", "text"), NUMBERS.items())
def test_numbers_are_printed_as_ecmascript_does(number: float, text: str) -> None:
    """Appendix B."""
    assert canonical(number) == text.encode()


floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda each: abs(each) < 2**53)
scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | floats | st.text()
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(json_values)
def test_a_canonical_form_is_canonical(value: object) -> None:
    """To read it and encode it again changes nothing; but doubles beyond 2^53 are printed as integers that are then refused."""
    assert canonical_text(canonical(value)) == canonical(value)


circular: list[Any] = []
circular.append(circular)


NUMBERLESS = (float("nan"), float("inf"), -float("inf"), 2**53, -(2**53), [float("nan")], {"a": [2**53]})
UNLIKE_JSON = ("\ud800", {"\udfff": 1}, {1: 2}, {None: 1}, (1, 2), {1}, b"x", object(), circular, "x" * EVENT_BYTES_MAX)


@pytest.mark.parametrize("value", [*NUMBERLESS, *UNLIKE_JSON], ids=lambda value: repr(value)[:20])
def test_what_has_no_canonical_form_is_misuse(value: object) -> None:
    """On its own or deep inside."""
    with pytest.raises(Misuse) as caught:
        canonical(value)
    assert caught.value.argument == "event"


TWICE = ('{"a":1,"a":2}', '[{"b":{"c":1,"c":1}}]')
NO_NUMBER = ("NaN", "Infinity", "-Infinity", "1e400", "9007199254740992", "9" * 5000)
NO_TEXT = ('"\\ud800"', "", "{", "1 2", b"\xff", b"\xef\xbb\xbf1", None, 7, bytearray(b"1"), "[" * 100_000)


@pytest.mark.parametrize("text", [*TWICE, *NO_NUMBER, *NO_TEXT], ids=lambda text: repr(text)[:20])
def test_texts_that_are_misuse(text: Any) -> None:
    """Keys given twice, numbers that are none, and what is no JSON."""
    with pytest.raises(Misuse) as caught:
        canonical_text(text)
    assert caught.value.argument == "event"


def test_the_bounds_are_not_misuse() -> None:
    """The largest integers, the largest event and the deepest."""
    assert canonical([2**53 - 1, -(2**53) + 1]) == b"[9007199254740991,-9007199254740991]"
    assert len(canonical("x" * (EVENT_BYTES_MAX - 2))) == EVENT_BYTES_MAX
    leaves: list[Any] = [0, "", []]
    for leaf in leaves:
        deep = leaf
        for _ in range(DEPTH_MAX - (leaf == [])):
            deep = [deep]
        assert canonical(deep).startswith(b"[[[")
        with pytest.raises(Misuse, match="deep"):
            canonical([deep])


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_what_is_shared_counts_wherever_it_is(kind: str) -> None:
    """A small value may have a canonical form that nobody could write down; it is not tried."""
    value: Any = "x"
    for _ in range(DEPTH_MAX - 1):
        value = [value, value] if kind == "list" else {"a": value, "b": value}
    with pytest.raises(Misuse, match="has more than"):
        canonical(value)
    with pytest.raises(Misuse, match="has more than"):
        canonical([["x" * EVENT_BYTES_MAX] * EVENT_BYTES_MAX])


@pytest.mark.parametrize(
    "shape", [lambda text: [text], lambda text: {"a": text}, lambda text: {text: 0}, lambda text: [[], text]]
)
def test_the_largest_event_may_have_any_shape(shape: Callable[[str], object]) -> None:
    """To the last byte."""
    around = len(canonical(shape("")))
    assert len(canonical(shape("x" * (EVENT_BYTES_MAX - around)))) == EVENT_BYTES_MAX
    for more in (1, 1000):
        with pytest.raises(Misuse):
            canonical(shape("x" * (EVENT_BYTES_MAX - around + more)))


def test_without_the_extra_the_error_says_what_to_install() -> None:
    """When a chain is made, not when the first event comes; the package itself can be imported."""
    program = (
        "import sys; sys.modules['rfc8785'] = None; import redis\n"
        "from redstep.clients.audit_chain import AuditChain\n"
        "try: AuditChain(redis.Redis(), 'orders')\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert "pip install 'redstep[audit]'" in said.stdout
