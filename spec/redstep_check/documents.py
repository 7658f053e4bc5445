"""
Documents: the parts of the READMEs that are made, not written.

    <!-- generated: NAME -->
    ...
    <!-- end -->

What stands between two such lines comes from the specification, the headers of the scripts, the tests and the figures of
`measuring`. It belongs to a checkout: an installed package has no READMEs.

    python -m redstep_check.documents              make them anew
    python -m redstep_check.documents --check      exit 1 if any is out of date
    python -m redstep_check.documents --measure    measure first; it takes a few minutes
"""

import argparse
import ast
import inspect
import logging
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from attrs import frozen

from redstep_check import measuring
from redstep_check.exploration import World, diagram, explore
from redstep_check.headers import Entry, parse
from redstep_check.measuring import Measured
from redstep_spec import properties
from redstep_spec.properties import Property
from redstep_spec.rules import RULES

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "spec" / "measured.json"
BLOCK = re.compile(r"(?P<begin><!-- generated: (?P<name>[\w-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
ID = re.compile(r"\b[A-Z]{2}-\d+\b")


@frozen(order=True)
class Place:
    """A symbol of the specification, and where it stands."""

    file: str
    line: int
    symbol: str

    @property
    def link(self) -> str:
        """As seen from the specification's README."""
        return f"[`{self.symbol}`]({self.file}#L{self.line})"


# ---------------------------------------------------------------------------------------------- what is told


def table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Draw a table in Markdown; a column of numbers is asked for by a colon after its heading."""
    names = list(headings)
    lines = [names, ["--:" if name.endswith(":") else "---" for name in names], *rows]
    return "".join(
        f"| {' | '.join(str(cell).removesuffix(':') if row is names else str(cell) for cell in row)} |\n" for row in lines
    )


def scripts() -> str:
    """The table of scripts, from their headers."""
    headers = [parse(path.read_text(encoding="utf-8")).header for path in sorted((ROOT / "lua").glob("*.lua"))]
    rows = (
        (f"[`{each.name}`]({each.name}.lua)", each.question, _entries(each.keys), _entries(each.argv), each.writes, each.cost)
        for each in headers
    )
    return table(("script", "question", "KEYS", "ARGV", "writes", "cost"), rows)


def _entries(entries: tuple[Entry, ...]) -> str:
    fixed = [f"`{each.name}`" for each in entries if each.place != "*"]
    repeated = [each for each in entries if each.place == "*"]
    names = " ".join(f"`{each.name}`" for each in repeated)
    each_of = next((found[0] for entry in repeated if (found := FOR_EACH.search(entry.meaning))), "repeated")
    return ", ".join([*fixed, *([f"{names} {each_of}"] if repeated else [])]) or "none"


FOR_EACH = re.compile(r"for each \w+")
"""What a header says an entry is repeated for."""


def properties_table() -> str:
    """The properties, with the predicate that decides each, and how often it held in the measured runs."""
    reached = measured().reached
    rows = [
        (
            f"[{each.name}](redstep_spec/{_source(each)})",
            kind,
            each.rule,
            each.sentence,
            reached[each.name] or "" if often else "",
        )
        for kind, often, each in every_property()
    ]
    return table(("property", "", "rule", "sentence", "examples:"), rows)


def _source(each: Property[Any]) -> str:
    file = Path(inspect.getsourcefile(each.holds) or "").name
    return f"properties/{file}#L{inspect.getsourcelines(each.holds)[1]}"


def every_property() -> Iterator[tuple[str, bool, Property[Any]]]:
    """Each property, whether it is an ALWAYS or a SOMETIMES, and whether that can be counted."""
    modules = (import_module(f"{properties.__name__}.{module.name}") for module in iter_modules(properties.__path__))
    for found in {id(module.PROPERTIES): module.PROPERTIES for module in modules}.values():
        yield from (("always", False, each) for each in found.always)
        yield from (("sometimes", True, each) for each in found.sometimes)


def rules() -> str:
    """The rules: where each is specified, how often it was put to the test, which planted faults it caught."""
    places, planted, figures = specified(), planted_in_tests(), measured()
    for fault, rule in figures.caught.items():
        planted[rule].add(fault if rule.startswith("CM-") else fault.partition(": ")[2])
    rows = (
        (rule, sentence, _links(places[rule]), figures.fired[rule] or "", "; ".join(sorted(planted[rule])))
        for rule, sentence in RULES.items()
    )
    return table(("rule", "sentence", "specified in", "fired:", "planted faults that it caught"), rows)


def _links(places: Iterable[Place]) -> str:
    return ", ".join(place.link for place in sorted(places))


def state_diagram(guard: str) -> str:
    """The states of a guard, drawn from the steps that its specification takes in a small world."""
    module = import_module(f"redstep_spec.worlds.{guard.replace('-', '_')}")
    world = World(initial=module.INITIAL, calls=module.calls, step=module.step, kind=module.kind, label=module.label)
    found = explore(world)
    some = "" if found.exhausted else "the first "
    told = f"Drawn from {some}{found.steps:,} steps between the {len(found.depth):,} states of this world"
    theory = " ".join((module.__doc__ or "").strip().partition("\n\n")[0].split())
    return f"{diagram(found.edges, module.kind(module.INITIAL))}\n{theory} {told}.\n"


def figures() -> str:
    """What was measured, in a sentence."""
    found = measured()
    told = "; ".join(f"{each.guard} {each.client}, {each.examples} examples, {each.steps:,} steps" for each in found.runs)
    planted = f"{len(found.caught)} faults were planted in the shipped text, each caught in a run of its own"
    return f"Measured on {found.engine} with seed {found.seed}: {told}; {planted}.\n"


def reading() -> str:
    """What to read, in which order, and how long it is."""
    rows = [(f"[{file}]({file})", _lines(file), what) for file, what in READING.items()]
    total = sum(_lines(file) for file in READING)
    return table(("file", "lines:", "what it tells"), [*rows, ("", total, "")])


READING = {
    "spec/redstep_spec/rules.py": "the sentence behind each rule ID",
    "spec/redstep_spec/rate_limiter.py": "the rate limiter: what is right, as pure functions on frozen values",
    "spec/redstep_spec/delivery.py": "what becomes of a call between a client and the store",
    "spec/redstep_spec/arguments.py": "names and numbers",
    "spec/redstep_spec/circuit_breaker.py": "the circuit breaker",
    "spec/redstep_spec/idempotency.py": "the idempotency store",
    "spec/redstep_spec/audit_chain.py": "the audit chain: the steps of the store",
    "spec/redstep_spec/audit_chain_encoding.py": "its bytes",
    "spec/redstep_spec/audit_chain_writer.py": "what a writer makes of those steps",
    "spec/redstep_spec/audit_chain_verification.py": "how a chain is checked",
    "spec/redstep_spec/canonical_json.py": "the one way to write an event down",
    "spec/redstep_spec/regions.py": "limits across regions",
    "spec/redstep_spec/store_failure.py": "a limiter whose store fails",
}


def modules() -> str:
    """The modules of the implementation: the first sentence of each."""
    paths = [path for path in sorted((ROOT / "impl" / "redstep").rglob("*.py")) if path.name != "__init__.py"]
    names = {path: path.relative_to(ROOT / "impl" / "redstep") for path in paths}
    rows = ((f"[`{name.with_suffix('')}`](redstep/{name})", _theme(path)) for path, name in names.items())
    return table(("module", "what it is"), rows)


def tests() -> str:
    """The packages and modules of the tests: the first sentence of each, but for what stands in a package."""
    packages = sorted(path.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("__init__.py"))
    files = sorted((ROOT / "tests").glob("test_*.py"))
    rows = [(f"[`{name.parent}/`]({name})", _theme(ROOT / "tests" / name)) for name in packages]
    return table(("tests", "about"), [*rows, *((f"[`{path.name}`]({path.name})", _theme(path)) for path in files)])


def benchmarks() -> str:
    """The benchmarks, and what they share: the first sentence of each."""
    paths = sorted((ROOT / "benchmarks").glob("*.py"), key=lambda path: (not path.name.startswith("bench_"), path))
    return table(("file", "subject"), ((f"[`{path.name}`]({path.name})", _theme(path)) for path in paths))


def _theme(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def _lines(file: str) -> int:
    return len((ROOT / file).read_text(encoding="utf-8").splitlines())


# ---------------------------------------------------------------------------------------------- where it comes from


@cache
def measured() -> Measured:
    """The figures that were kept."""
    return measuring.load(MEASURED)


def specified() -> Mapping[str, set[Place]]:
    """The symbols of the specification that carry each rule's ID, properties aside."""
    places: defaultdict[str, set[Place]] = defaultdict(set)
    for path in sorted((ROOT / "spec" / "redstep_spec").glob("*.py")):
        if path.name != "rules.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found = [(rule, symbol, node.lineno) for symbol, node in _symbols(tree, "") for rule in _rules_in(node)]
            found += [(rule, path.stem, 1) for rule in ID.findall(ast.get_docstring(tree) or "")]
            for rule, symbol, line in found:
                places[rule].add(Place(f"redstep_spec/{path.name}", line, symbol))
    return places


def _symbols(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.ClassDef(name=name):
                yield from _symbols(child, f"{prefix}{name}.")
                yield f"{prefix}{name}", child
            case ast.FunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)) if name != "because":
                yield f"{prefix}{name}", child


def _rules_in(node: ast.stmt) -> set[str]:
    """The IDs in a symbol's strings; of a class only those of its docstring, for its fields speak for themselves."""
    if isinstance(node, ast.ClassDef):
        return set(ID.findall(ast.get_docstring(node) or ""))
    strings = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str))
    return {rule for string in strings for rule in ID.findall(string)}


def planted_in_tests() -> defaultdict[str, set[str]]:
    """The faults that tests plant themselves, by rule: each in a list FAULTS, or named by a mark `catches(rule, fault)`."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        listed = set(_listed(tree))
        rules_listed = {rule for rule, _ in listed}
        for rule, fault in listed | {mark for mark in _marked(tree) if mark[0] not in rules_listed}:
            found[rule].add(fault)
    return found


def _listed(tree: ast.Module) -> Iterator[tuple[str, str]]:
    lists = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FAULTS"]
    for call in _calls(lists):
        words = {word.arg: _text(word.value) for word in call.keywords}
        name, rule = (words.get("name"), words.get("rule")) if words else [*map(_text, call.args), "", ""][:2]
        if name and rule and ID.fullmatch(rule):
            yield rule, name


def _marked(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for call in _calls([tree]):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "catches" and all(map(_text, call.args)):
            rule, fault = map(_text, call.args)
            yield rule, fault


def _calls(nodes: Iterable[ast.AST]) -> Iterator[ast.Call]:
    return (each for node in nodes for each in ast.walk(node) if isinstance(each, ast.Call))


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


# ---------------------------------------------------------------------------------------------- making


WORLDS = ("rate-limiter", "circuit-breaker", "audit-chain", "idempotency")
BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"reading": reading},
    "spec/README.md": {
        **{guard: partial(state_diagram, guard) for guard in WORLDS},
        "properties": properties_table,
        "figures": figures,
        "rules": rules,
    },
    "lua/README.md": {"scripts": scripts},
    "impl/README.md": {"modules": modules},
    "tests/README.md": {"tests": tests},
    "benchmarks/README.md": {"benchmarks": benchmarks},
}


def made(text: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """Make the generated parts of a text anew. Raises LookupError if one is not there, is there twice or is not known."""
    names = [found["name"] for found in BLOCK.finditer(text)]
    if sorted(names) != sorted(blocks):
        raise LookupError(f"it has the generated parts {names}, and should have {list(blocks)}")
    return BLOCK.sub(lambda found: f"{found['begin']}{blocks[found['name']]()}{found['end']}", text)


def out_of_date() -> dict[str, str]:
    """The documents that are not as they would be made, with what they should be."""
    texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in BLOCKS}
    new = {file: made(text, BLOCKS[file]) for file, text in texts.items()}
    return {file: text for file, text in new.items() if text != texts[file]}


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m redstep_check.documents", description="Make the generated documents.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if any is out of date")
    parser.add_argument("--measure", action="store_true", help="measure first; it takes a few minutes")
    options = parser.parse_args(arguments)
    if options.measure:
        logging.getLogger("redstep").addHandler(logging.NullHandler())  # what it would log of the faults done to it is no news
        measuring.save(measuring.measure(), MEASURED)
    stale = out_of_date()
    for file, text in stale.items():
        print(f"{file} is out of date" if options.check else f"{file} made anew")  # noqa: T201  it is a command
        if not options.check:
            (ROOT / file).write_text(text, encoding="utf-8")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
