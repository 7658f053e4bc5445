"""
Headers: what each script says of itself, and whether its body agrees.

    --[[ name: question

      spec   module.function of the specification that it refines
      KEYS   place name  meaning                 a place is a number, or * for those that are repeated
      ARGV   place name  meaning
      reply  {name, name}
      error  CODE <what> meaning                 or none
      writes COMMANDS, on what and when          or nothing
      cost   O(...)
    ]]

The table of scripts is made from the headers, so a header that its body contradicts would be a lie told twice. What a header
says is read by line and column; the body is split into Lua's tokens, which is enough to find calls, strings and constructors.
"""

import re
from collections.abc import Callable, Iterator
from importlib import import_module

from attrs import frozen

FIELDS = ("spec", "KEYS", "ARGV", "reply", "error", "writes", "cost")
READING = re.compile(
    "EXISTS|GET|GETRANGE|HGET|HGETALL|HLEN|HMGET|LINDEX|LLEN|LRANGE|MGET|PEXPIRETIME|PTTL|STRLEN|TIME|TTL|TYPE|"
    "ZCARD|ZCOUNT|ZRANGE|ZRANGEBYSCORE|ZREVRANGE|ZSCORE"
)
"""The commands that change nothing; any other is taken for one that writes."""
INCLUDES = frozenset({"dofile", "load", "loadfile", "loadstring", "require"})

SHAPE = re.compile(r"--\[\[ (?P<name>\w+): (?P<question>.+)\n\n(?P<fields>(?:  .+\n)+)\]\]\n(?P<body>[\s\S]*)")
ENTRY = re.compile(r"(?P<place>\d+|\*) (?P<name>\w+) +(?P<meaning>\S.*)")
TOKEN = re.compile(
    r"""(?P<comment>--\[(?P<c>=*)\[.*?\](?P=c)\]|--[^\n]*)
      | (?P<string>\[(?P<s>=*)\[.*?\](?P=s)\]|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
      | (?P<number>0x[\da-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign>\.{2,3}|[~=<>]=|\S)""",
    re.DOTALL | re.VERBOSE,
)


class BadHeader(ValueError):
    """A script does not begin with a header of the form above."""


@frozen
class Entry:
    """One line of KEYS or ARGV."""

    place: str
    name: str
    meaning: str


@frozen(kw_only=True)
class Header:
    """What a script says of itself."""

    name: str
    question: str
    spec: str
    keys: tuple[Entry, ...]
    argv: tuple[Entry, ...]
    reply: tuple[str, ...]
    errors: frozenset[str]
    writes: str
    cost: str

    @property
    def commands(self) -> frozenset[str]:
        """The commands that it says it writes with."""
        return frozenset(re.findall(r"\b[A-Z]{3,}\b", self.writes))


@frozen
class Token:
    """A word of Lua."""

    kind: str
    text: str

    @property
    def value(self) -> str:
        """What is between the quotes of a string."""
        return self.text[1:-1] if self.kind == "string" else self.text


@frozen
class Script:
    """A header and the tokens of its body."""

    header: Header
    tokens: tuple[Token, ...]
    body: str

    def find(self, *texts: str) -> Iterator[int]:
        """Where these tokens follow one another; gives the place after them."""
        for at in range(len(self.tokens) - len(texts) + 1):
            if tuple(token.text for token in self.tokens[at : at + len(texts)]) == texts:
                yield at + len(texts)


def parse(text: str) -> Script:
    """Take a script apart. Raises BadHeader."""
    shape = SHAPE.fullmatch(text)
    if shape is None:
        raise BadHeader("no header")
    fields = _fields(shape["fields"])
    reply = re.match(r"\{(\w+(?:, \w+)*)\}", fields["reply"])
    if reply is None:
        raise BadHeader("reply is not of the form {name, name}")
    header = Header(
        name=shape["name"],
        question=shape["question"],
        spec=fields["spec"],
        keys=_entries(fields["KEYS"]),
        argv=_entries(fields["ARGV"]),
        reply=tuple(reply[1].split(", ")),
        errors=frozenset(re.findall(r"^E[A-Z]+", fields["error"], re.MULTILINE)),
        writes=_joined(fields["writes"]),
        cost=_joined(fields["cost"]),
    )
    return Script(header, tuple(_tokens(shape["body"])), shape["body"])


def _fields(text: str) -> dict[str, str]:
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        if label := line[:9].strip():
            lines[label] = []
        lines[label or list(lines)[-1]].append(line[9:])
    if tuple(lines) != FIELDS:
        raise BadHeader(f"its fields are {', '.join(lines)}, not {', '.join(FIELDS)}")
    return {label: "\n".join(content) for label, content in lines.items()}


def _entries(text: str) -> tuple[Entry, ...]:
    if text == "none":
        return ()
    entries: list[Entry] = []
    for line in text.splitlines():
        if found := ENTRY.fullmatch(line):
            entries.append(Entry(found["place"], found["name"], found["meaning"]))
        elif not (entries and line.startswith(" ")):
            raise BadHeader(f"{line!r} is neither a place, a name and a meaning, nor their continuation")
    return tuple(entries)


def _joined(text: str) -> str:
    return " ".join(text.split())


def _tokens(body: str) -> Iterator[Token]:
    for found in TOKEN.finditer(body):
        if found.lastgroup is None or found["comment"]:
            continue
        kind = next(kind for kind in ("string", "number", "name", "sign") if found[kind])
        yield Token(kind, found[0])


# ---------------------------------------------------------------------------------------------- header against body


def problems(file: str, text: str) -> list[str]:
    """What is wrong with a script; nothing, when its header is whole and its body does what it says."""
    try:
        script = parse(text)
    except BadHeader as error:
        return [str(error)]
    named = [] if file == f"{script.header.name}.lua" else [f"{file} is called {script.header.name}"]
    return [*named, *(problem for check in CHECKS for problem in check(script))]


def refines_something(script: Script) -> Iterator[str]:
    """What `spec` names exists."""
    module, _, name = script.header.spec.rpartition(".")
    try:
        getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        yield f"spec {script.header.spec} does not exist"


def uses_its_keys(script: Script) -> Iterator[str]:
    """KEYS are used where there are any, and numbered ones by their numbers."""
    places = {entry.place for entry in script.header.keys}
    used = {token.text for token in script.tokens}
    if ("KEYS" in used) != bool(places):
        yield "KEYS are declared and not used, or used and not declared"
    literal = {script.tokens[at].text for at in script.find("KEYS", "[") if script.tokens[at].kind == "number"}
    if "*" not in places and literal != places:
        yield f"KEYS {sorted(literal)} are used, {sorted(places)} declared"


def uses_its_arguments(script: Script) -> Iterator[str]:
    """Every argument is used, and every one used declared; the repeated ones as `n * i + c`, and counted."""
    fixed = {entry.place for entry in script.header.argv} - {"*"}
    repeated = sum(entry.place == "*" for entry in script.header.argv)
    if fixed != {str(number + 1) for number in range(len(fixed))}:
        yield f"the places of ARGV are {sorted(fixed)}"
    expected = set(fixed)
    if repeated:
        expected |= {_computed(repeated, len(fixed) - repeated + place) for place in range(1, repeated + 1)}
        count = rf"#ARGV ~= {len(fixed)} \+ {repeated} \* (#KEYS|\w+)\b"
        if not re.search(count, script.body):
            yield f"#ARGV is not held against {len(fixed)} + {repeated} * #KEYS"
    used = set(re.findall(r"\bARGV\[([^\]]*)\]", script.body))
    if used != expected:
        yield f"ARGV {sorted(used - expected)} used and not declared, {sorted(expected - used)} declared and not used"


def _computed(factor: int, constant: int) -> str:
    return f"{factor} * i" + (f" + {constant}" if constant > 0 else f" - {-constant}" if constant < 0 else "")


def tests_its_integers(script: Script) -> Iterator[str]:
    """Lua's tonumber takes fractions too: an argument that is an integer is matched against digits, or divided by 1."""
    integers = any(entry.meaning.startswith("integer") for entry in script.header.argv)
    if integers and "'^%d+$'" not in script.body and not list(script.find("%", "1")):
        yield "its integers are neither matched against '^%d+$' nor divided by 1"


def returns_its_reply(script: Script) -> Iterator[str]:
    """Every table constructor that is returned has the arity of the reply."""
    arities = {_arity(script.tokens[at:]) for at in script.find("return", "{")}
    if arities != {len(script.header.reply)}:
        yield f"the reply has {len(script.header.reply)} elements, what is returned {sorted(arities)}"


def _arity(tokens: tuple[Token, ...]) -> int:
    depth, commas = 1, 0
    for at, token in enumerate(tokens):
        depth += (token.text in "({[") - (token.text in ")}]") if token.kind == "sign" else 0
        commas += depth == 1 and token.text == ","
        if depth == 0:
            return commas + 1 if at else 0
    raise BadHeader("a table constructor is not closed")


def tells_its_errors(script: Script) -> Iterator[str]:
    """The codes of its errors are those of the header."""
    codes = {found[0] for token in script.tokens if token.kind == "string" and (found := re.match(r"E[A-Z]{2,}", token.value))}
    if codes != script.header.errors:
        yield f"its errors are {sorted(codes)}, the header says {sorted(script.header.errors)}"


def tells_its_writes(script: Script) -> Iterator[str]:
    """The commands that write are those of the header, and no command is computed."""
    written = set()
    for _, command in _calls(script):
        if command is None:
            yield "a command is not a literal"
        elif not READING.fullmatch(command):
            written.add(command)
    if written != script.header.commands:
        yield f"it writes with {sorted(written)}, the header says {sorted(script.header.commands)}"
    if not written and script.header.writes != "nothing":
        yield "it writes nothing, and the header says otherwise"


def checks_before_it_writes(script: Script) -> Iterator[str]:
    """CM-1: in the order of the text, the first write comes after the last refusal."""
    writes = [at for at, command in _calls(script) if command is not None and not READING.fullmatch(command)]
    refusals = [at for at, token in enumerate(script.tokens) if token.text == "refuse" or re.match(r"E[A-Z]{2,}", token.value)]
    if writes and refusals and min(writes) < max(refusals):
        yield "something is written before the last refusal"


def _calls(script: Script) -> Iterator[tuple[int, str | None]]:
    """Where commands are called, and which; `local call = redis.call` is known, another alias is not."""
    for at, token in enumerate(script.tokens[:-1]):
        is_redis = [each.text for each in script.tokens[max(0, at - 2) : at]] == ["redis", "."]
        if token.text not in ("call", "pcall"):
            continue
        if script.tokens[at + 1].text == "(":
            command = script.tokens[at + 2]
            if command.kind == "string":
                yield at, command.value
            elif is_redis:
                yield at, None
        elif is_redis and not re.search(rf"local [\w, ]*\b{token.text}\b[\w, ]* =[^\n]*redis\.{token.text}", script.body):
            yield at, None


def stands_alone(script: Script) -> Iterator[str]:
    """One script is one file, that `redis-cli --eval` can run."""
    if found := INCLUDES & {token.text for token in script.tokens if token.kind == "name"}:
        yield f"it includes by {sorted(found)}"
    if not script.body.isascii():
        yield "its body is not ASCII"


CHECKS: tuple[Callable[[Script], Iterator[str]], ...] = (
    refines_something,
    uses_its_keys,
    uses_its_arguments,
    tests_its_integers,
    returns_its_reply,
    tells_its_errors,
    tells_its_writes,
    checks_before_it_writes,
    stands_alone,
)
