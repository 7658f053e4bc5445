"""Timelines: what is drawn, what is kept, and that nothing in a history is taken for markup or for orders to a terminal."""

import json
from enum import Enum
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from attrs import field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from redstep_check.linearizability import Failed, Illegal, Undecided, Unknown, Vacuous, check, operations
from redstep_check.linearizability import examples as of
from redstep_check.linearizability.examples import EXAMPLES, REGISTER, Read, Write, drawn
from redstep_check.timelines import BadHistory, Differs, Mark, Sign, Timeline, load, page, save, text
from redstep_check.timelines.files import as_json, of_json
from redstep_check.timelines.text import SIGNS
from redstep_check.timelines.values import Kept, decoded, encoded, told

from .drawing import KINDS, Kind, Move, Veiled, history

[EXAMPLE] = [each for each in EXAMPLES if each.name == "register"]
ILLEGAL = Timeline(history=EXAMPLE.illegal, verdict=check(REGISTER, EXAMPLE.illegal), title="a register", notes=("seed 7",))
MIXED = drawn(
    ("A", 1, 6, Write(1), None), ("B", 2, 3, Read(), Unknown()), ("B", 4, 5, Read(), Failed()), ("B", 7, None, Read(), None)
)
CLASSES = [getattr(of, name) for name in dir(of) if isinstance(getattr(of, name), type)]
OURS = {each.__name__: each for each in (*CLASSES, Move, Veiled)}

# ---------------------------------------------------------------------------------------------- text


def test_a_short_history_is_drawn_as_bars() -> None:
    """A line for each client, with the order that was found and the operation that is stuck."""
    assert text(ILLEGAL) == (
        "a register\n"
        "illegal: no order explains that client C heard 0 (at 5); before that, one explains 2 operations\n"
        "client C: Read() was answered 0\n"
        "after the operations with a number the model answers 1\n"
        "seed 7\n"
        "\n"
        "A  ├──────── #1 Write(1) → None ────────┤\n"
        "B    ├ #2 Read() → 1 ┤\n"
        "C                      ├ ✗ Read() → 0 ┤\n"
    )


def test_failed_and_unknown_operations_look_otherwise() -> None:
    """One that was given up ends where its client went on, and one of which nobody heard at the end."""
    assert text(Timeline(history=MIXED)) == (
        "not checked\n\nA  ├─────── Write(1) → None ────────┤\nB    ├ Read() ? ┄ ├ Read() failed ┘   ├ Read() ? ┄\n"
    )


def test_what_is_too_wide_is_written_event_by_event() -> None:
    """A lane for each client beside it."""
    assert text(Timeline(history=MIXED), width=40) == (
        "not checked\n"
        "\n"
        "1  ┌   A  Write(1)\n"
        "2  │┌  B  Read()\n"
        "3  │┆  B  Read() ?\n"
        "4  │┌  B  Read()\n"
        "5  │┘  B  Read() failed\n"
        "6  └   A  Write(1) → None\n"
        "7   ┌  B  Read()\n"
    )


def test_of_a_long_history_what_leads_to_the_stuck_operation_is_written() -> None:
    """And how much is left out on either side."""
    rows = [("A", 2 * at, 2 * at + 1, Write(at), None) for at in range(1_000)]
    later = [(name, began + 2, ended + 2, call, None) for name, began, ended, call, _ in rows[700:]]
    events = drawn(*rows[:700], ("B", 1400, 1401, Read(), 5), *later)
    lines = text(Timeline(history=events, verdict=check(REGISTER, events)), events_max=10).splitlines()
    assert "… 1392 events before" in lines
    assert "… 600 events after" in lines
    assert lines[-2].endswith("B  Read() → 5  ✗")
    assert len(lines) == 3 + 1 + 1 + 10 + 1
    legal = text(Timeline(history=events[:1400]), events_max=10).splitlines()
    assert legal[-1] == "… 1390 events after"


@pytest.mark.parametrize("verdict", [Undecided(7, ("a",)), Vacuous(3), None])
def test_every_verdict_is_told(verdict: Any) -> None:
    """Also where there is no order to draw, and in an empty history."""
    for events in ([], MIXED):
        timeline = Timeline(history=events, verdict=verdict)
        said = "not checked" if verdict is None else str(verdict)
        assert said in text(timeline)
        assert said in page(timeline)


def test_a_terminal_is_given_no_orders() -> None:
    """Escape sequences and line breaks, in clients, calls, replies, titles and notes."""
    nasty = "\x1b[2J\nx\u202e"
    events = drawn((nasty, 1, 2, nasty, nasty), ("B", 3, 4, Read(), 1))
    timeline = Timeline(history=events, verdict=check(REGISTER, drawn(("B", 3, 4, Read(), 1))), title=nasty, notes=(nasty,))
    for width in (10, 500):
        shown = text(timeline, width=width)
        assert all(each.isprintable() for each in shown.splitlines())
        assert "\\x1b[2J\\nx" in shown


# ---------------------------------------------------------------------------------------------- page


class Reader(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the element that is open."""
        assert self.open.pop() == tag

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        """The elements of a class."""
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def test_a_page_has_a_bar_for_each_operation() -> None:
    """With where it is, what it is, its place in the order; and the stuck one is marked."""
    read = Reader(page(ILLEGAL))
    assert read.open == []
    bars = read.of_class("bar")
    assert [each["style"] for each in bars] == ["--from:0;--to:5", "--from:1;--to:2", "--from:3;--to:4"]
    assert bars[0]["title"] == "client A, operation 0\nfrom 1 to 6\nWrite(1)\n→ None\n#1, which leads to 1"
    assert read.of_class("stuck") == [bars[2]]
    assert len(read.of_class("point")) == 2
    assert len(read.of_class("lane")) == 3
    looks = Reader(page(Timeline(history=MIXED)))
    assert [len(looks.of_class(each)) for each in ("answered", "failed", "open")] == [1, 1, 2]
    assert looks.of_class("point") == []


def test_a_page_needs_nothing_else() -> None:
    """It names no other file and no host; its script does not write markup."""
    shown = page(ILLEGAL)
    assert {tag for tag, _ in Reader(shown).tags} >= {"style", "script", "button"}
    assert not {name for _, its in Reader(shown).tags for name in its} & {"src", "href", "action", "srcset"}
    for word in ("http", "url(", "@import", "innerHTML", "outerHTML", "document.write", "insertAdjacentHTML", "eval("):
        assert word not in shown


@pytest.mark.parametrize(
    "nasty",
    ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'><b onmouseover='x", "$columns ${x}", "&lt;"],
)
def test_nothing_in_a_history_is_markup(nasty: str) -> None:
    """Wherever it stands, it adds no element and no attribute, and is shown as it is."""

    def shown(value: str) -> Reader:
        call = of.Put(value, value)
        events = drawn((value, 1, 2, call, None), ("B", 3, 4, of.Get(value), value), ("B", 5, 6, of.Get(value), "stuck"))
        verdict = check(of.KEY_VALUE_STORE, events)
        assert isinstance(verdict, Illegal)
        return Reader(page(Timeline(history=events, verdict=verdict, title=value, notes=(value,))))

    plain, read = shown("plain"), shown(nasty)
    assert [(tag, sorted(its)) for tag, its in read.tags] == [(tag, sorted(its)) for tag, its in plain.tags]
    assert read.of_class("client")[0]["title"] == nasty


# ---------------------------------------------------------------------------------------------- marks


def marked(value: str = "x") -> Timeline:
    """Two clients and a store, with every mark there is; the last one is wrong."""
    events = drawn((value, 1, 40, value, value), ("B", 2, None, value, None))
    marks = [Mark(3 + at, (value, "B", "store")[at % 3], sign, value) for at, sign in enumerate(Sign)]
    verdict = Differs(rule="RL-2", sentence=value, what=value, expected=value, actual=value)
    wrong = Mark(30, "B", Sign.NOTED, value, is_wrong=True)
    return Timeline(history=events, verdict=verdict, title=value, notes=(value,), marks=[*marks, wrong])


def test_marks_are_written_event_by_event() -> None:
    """Each in its lane; the one at which both sides differ stands out, and whatever follows it is written too."""
    shown = text(marked()).splitlines()
    assert shown[:3] == ["x", "RL-2 is broken: x: the specification says x, the implementation x", "x"]
    assert [line[4:7] for line in shown if "  x" in line[7:] and line[:2].strip() == "3"] == ["◆│ "]
    [wrong] = [line for line in shown if "✗" in line]
    assert wrong == "30  │✗   B      x"
    assert shown[-1].startswith("40  └│")
    assert len({SIGNS[each] for each in Sign}) == len(Sign)


def test_of_a_long_course_what_leads_to_the_difference_is_written() -> None:
    """And how much is left out."""
    marks = [Mark(at, "A", Sign.EXECUTED, f"step {at}", is_wrong=at == 500) for at in range(1, 1_001)]
    shown = text(Timeline(history=[], marks=marks), events_max=10).splitlines()
    assert shown[2] == "… 490 events before"
    assert shown[-2:] == [" 500  ✗  A  step 500", "… 500 events after"]


def test_a_page_has_marks() -> None:
    """With where they are and what they are; the bar on which both sides differ is marked as well."""
    read = Reader(page(marked()))
    assert read.open == []
    marks = read.of_class("mark")
    assert len(marks) == len(Sign) + 1
    assert marks[0]["title"] == "x, at 3\ncalled\nx"
    [wrong] = read.of_class("wrong")[:1]
    assert wrong["title"] == "B, at 30\nboth sides differ\nx"
    assert [each["title"] for each in read.of_class("stuck")] == [
        "client B, operation 1\nfrom 2 never heard of again\nx\n?\nboth sides differ here"
    ]
    assert [each["title"] for each in read.of_class("client")] == ["x", "B", "store"]
    assert read.of_class("differs")
    assert "taken to have happened" not in page(marked())
    assert "taken to have happened" in page(ILLEGAL)


@pytest.mark.parametrize(
    "nasty", ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "$columns", "\x1b[2J"]
)
def test_nothing_in_a_mark_is_markup_or_an_order(nasty: str) -> None:
    """It adds no element and no attribute, and a terminal is shown what it is."""
    plain, read = Reader(page(marked())), Reader(page(marked(nasty)))
    assert [(tag, sorted(its)) for tag, its in read.tags] == [(tag, sorted(its)) for tag, its in plain.tags]
    assert all(each.isprintable() for each in text(marked(nasty)).splitlines())


def test_a_file_holds_marks_and_differences(tmp_path: Path) -> None:
    """All of them come back; a history without marks has none in its file."""
    timeline = marked("</script>")
    back = load(save(timeline, tmp_path / "x.json"))
    assert back.verdict == timeline.verdict
    assert list(back.marks) == list(timeline.marks)
    assert text(back) == text(timeline)
    assert "marks" not in as_json(ILLEGAL)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"at": "3"}, "the place of a mark is an integer"),
        ({"at": True}, "the place of a mark is an integer"),
        ({"sign": "nothing"}, "nothing"),
        ({"client": {"kind": "map", "items": []}}, "unhashable"),
    ],
)
def test_what_is_no_mark_is_refused(tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    """With the file and what is wrong with it."""
    content = as_json(marked())
    content["marks"][0].update(change)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadHistory, match=problem):
        load(path)


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(random=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_file_holds_all_there_is(kind: Kind, random: Random) -> None:
    """A history and its verdict come back as they were, and the verdict is the same again."""
    events = history(kind, random)
    timeline = Timeline(history=events, verdict=check(kind.model, events), title="x", notes=("y", "z"))
    content = json.loads(json.dumps(as_json(timeline)))
    back = of_json(content, OURS)
    assert back.verdict == timeline.verdict
    assert list(back.history) == list(timeline.history)
    assert repr(back.history) == repr(list(timeline.history))
    assert check(kind.model, back.history) == timeline.verdict
    assert (back.title, back.notes) == ("x", ("y", "z"))


def test_a_file_can_be_looked_at_without_its_classes(tmp_path: Path) -> None:
    """It looks the same but for fields that a class would leave out, and saved again it is the same."""
    path = save(ILLEGAL, tmp_path / "in" / "some.json")
    strange = load(path)
    assert "#1 Write(value=1) → None" in text(strange)
    assert save(strange, tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert text(load(path, OURS)) == text(ILLEGAL)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not of the format"),
        ('{"format": "redstep-story/1"}', "not of the format"),
        ('{"format": "redstep-history/1"}', "KeyError: 'events'"),
        ('{"format": "redstep-history/1", "events": 1}', "TypeError"),
        ('{"format": "redstep-history/1", "events": [{"at": 1}]}', "KeyError: 'client'"),
        ('{"format": "redstep-history/1", "events": [{"at": 1, "client": "A", "outcome": "failed"}]}', "has not made"),
        ('{"format": "redstep-history/1", "events": [{"at": "1", "client": "A", "call": 1}]}', "is an integer"),
        ('{"format": "redstep-history/1", "events": [{"at": 1, "client": "A", "call": {}}]}', "stands for no value"),
        ('{"format": "redstep-history/1", "events": [{"at": 1, "client": "A", "outcome": "lost"}]}', "KeyError: 'lost'"),
        (
            '{"format": "redstep-history/1", "events": [{"at": 1, "client": {"kind": "map", "items": []}, "call": 1}]}',
            "unhashable",
        ),
        ('{"format": "redstep-history/1", "events": [], "verdict": {"kind": "fine"}}', "no verdict is called 'fine'"),
        (
            '{"format": "redstep-history/1", "events": [], "verdict": {"kind": "illegal", "stuck": -1}}',
            "names no operation: -1",
        ),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    """With the file and what is wrong with it."""
    path = tmp_path / "bad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadHistory, match=problem) as refused:
        load(path, OURS)
    assert str(path) in str(refused.value)


def test_a_class_that_has_changed_is_told(tmp_path: Path) -> None:
    """Fields that it does not take, members that it does not have."""
    path = save(ILLEGAL, tmp_path / "x.json")
    for kind in (Read, Colour):
        with pytest.raises(BadHistory, match="this is no "):
            load(path, {"Write": kind})
    path.write_text(path.read_text(encoding="utf-8").replace('"fields"', '"member": "PUCE", "f"'), encoding="utf-8")
    with pytest.raises(BadHistory, match="Colour has no member 'PUCE'"):
        load(path, {"Write": Colour})


# ---------------------------------------------------------------------------------------------- values


class Colour(Enum):
    """One of two."""

    RED = 1
    GREEN = 2


class Pair(NamedTuple):
    """Two."""

    kind: Any
    fields: Any


@frozen
class Rich:
    """A class with fields of every sort."""

    name: str
    _private: int = 0
    shown: int = 3
    because: tuple[str, ...] = field(default=(), eq=False)


OTHERS = {each.__name__: each for each in (Colour, Pair, Rich)}
VALUES = [
    None,
    True,
    1,
    2**70,
    -0.5,
    "é\ud800",
    b"\x00\xff",
    (),
    (1, (2, "x")),
    frozenset({1, 2}),
    {"f": "read", 1: (2,)},
    Colour.GREEN,
    Pair({"kind": "x"}, (Colour.RED,)),
    Rich("x", 1, 2, ("RL-1",)),
    Unknown(),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    """Of its own class, if that is at hand; and what is kept of it otherwise is kept again."""
    written = json.loads(json.dumps(encoded(value)))
    back = decoded(written, {**OTHERS, "Unknown": Unknown})
    assert back == value
    assert type(back) is type(value)
    assert encoded(decoded(written, {})) == written


def test_what_has_no_form_is_kept_as_its_text() -> None:
    """To save a failure never fails."""
    value = decoded(encoded([1, {2, 3}, range(3), float("inf"), Read]), {})
    assert value[:2] == (1, frozenset({2, 3}))
    assert [repr(each) for each in value[2:]] == ["range(0, 3)", "inf", repr(Read)]
    assert all(isinstance(each, Kept) for each in value[2:])


def test_a_value_is_told_on_one_line() -> None:
    """Without what it always is, and without what is no part of it."""
    assert told(Rich("x", because=("RL-1",))) == "Rich(name='x')"
    assert told(Rich("x", 1, 4)) == "Rich(name='x', _private=1, shown=4)"
    assert [told(each) for each in (Write(1), Read(), Colour.RED, "a\nb", b"\n", None)] == [
        "Write(1)",
        "Read()",
        "RED",
        "'a\\nb'",
        "b'\\n'",
        "None",
    ]


def test_operations_are_named_by_their_place() -> None:
    """A verdict in a file says which, and they are those of the history."""
    content = as_json(ILLEGAL)
    assert content["verdict"] == {
        "kind": "illegal",
        "steps": 2,
        "stuck": 2,
        "instead": 1,
        "partition": None,
        "order": [{"operation": 0, "state": 1}, {"operation": 1, "state": 1}],
    }
    assert [each.number for each in operations(ILLEGAL.history)] == [0, 1, 2]
