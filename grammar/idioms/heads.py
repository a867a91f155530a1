"""Lines that declare, as other tools write them: heads of blocks and phases, ports, parameters."""

from __future__ import annotations

import re

from dln.grammar.idioms.forms import INNER, Idiom
from dln.grammar.idioms.names import OPTIONS, arguments

Holes = dict[str, str]
DOMAINS = frozenset("prob logit binary positive class".split())  # real is what there is anyway
_SIZES = r"[\[(<{]\s*(?P<sizes>[^\[\](){}<>]+?)\s*[\])>}]"
_TYPE = (
    r"(?:(?:float|double|int|real|array|ndarray|tensor|vector|matrix|scalar)(?:16|32|64)?|Tensor)\b"
)
RIGHT = re.compile(r"\w+(?:\[[^\[\]]*\])?(?:\s*:\s*\w+(?:\([^()]*\))?)?")
# What a port looks like elsewhere: its name, sizes and domain.
PORTS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<bare>){_SIZES}\s*(?::\s*(?P<domain>\w+))?",
        rf"(?P<name>\w+)\s*:\s*(?:{_TYPE}|(?P<domain>\w+))?\s*{_SIZES}",
        rf"(?P<name>\w+)\s*{_SIZES}\s*(?::\s*(?P<domain>\w+))?",
        rf"{_TYPE}\s*(?:\[[^\]]*\]\s*)?(?P<name>\w+)\s*(?:\[(?P<sizes>[^\[\]]+)\])?",
        r"(?P<name>\w+)\s*:\s*(?P<sizes>\d+)",
        r"(?P<name>\w+)\s*\[(?P<sizes>\w+)\]\[(?P<more>\w+)\]",
        r"(?P<name>\w+)\s*(?::|in)\s*R\s*\^\s*[{(]?(?P<sizes>[\w, *]+)[})]?",
    )
)
_TIMES = re.compile(r"(?<=\d)\s*x\s*(?=\d)")  # 28x28
TYPED = re.compile(rf"(\w+(?:\[[^\[\]]*\])?)\s*:\s*{_TYPE}")


def port(text: str) -> str | None:
    """`x: [784]`, `float x[784]` or `x(784)` as a port is written; None where it is none."""
    text = _TIMES.sub(", ", text.strip())
    if (typed := TYPED.fullmatch(text)) is not None:
        return typed[1]
    if RIGHT.fullmatch(text):
        return text
    found = next(filter(None, (form.fullmatch(text) for form in PORTS)), None)
    if found is None:
        return None
    holes = found.groupdict()
    sizes = ", ".join(filter(None, (holes.get("sizes"), holes.get("more"))))
    domain = holes.get("domain")
    holes["name"] = holes.get("name") or "x"
    if domain == "class":
        return f"{holes['name']}: class({sizes})"
    dims = f"[{sizes}]" if sizes else ""
    return f"{holes['name']}{dims}" + (f": {domain}" if domain in DOMAINS else "")


def _each(text: str) -> str | None:
    """Several ports."""
    found = [port(part) for part in arguments(text)]
    return None if None in found else ", ".join(filter(None, found))


def _block(h: Holes) -> str | None:
    """`network net(x: [784]) => y: prob[10]:` as the head of a block, where that is another."""
    head = _head(h)
    said = f"{h['heading']} {h['f']}({h['inside']}) {h['tail']}".replace("=>", "->").rstrip(" :{")
    return None if head is None or said.split() == head.removesuffix("{").split() else head


def _head(h: Holes) -> str | None:
    inside, tail = h["inside"], h["tail"]
    within = re.fullmatch(r"(.*?)\s*[-=]>\s*(.*)", inside)
    if within and not tail.strip(" {:"):
        inside, tail = within[1], f"-> {within[2]}"
    given, _, options = inside.partition(";")
    parts = arguments(given)
    late = [p.strip() for p in parts if re.match(r"\s*\w+\s*=(?!=)", p)]
    options = ", ".join([*late, *([options.strip()] if options.strip() else [])])
    ports = _each(",".join(p for p in parts if p.strip() not in late))
    arrow = re.fullmatch(r"\s*(?:[-=~]+>|:|returns?\b)?\s*(.*?)\s*[{:]?\s*", tail)
    result = arrow[1] if arrow else ""
    result = result[1:-1] if re.fullmatch(r"\(.*\)|\{.*\}", result) else result
    results = _each(result)
    if ports is None or results is None or not (results or tail.strip() in ("", "{", ":")):
        return None
    if h["heading"] != "block" and "[" not in results:
        return None
    head = f"block {h['f']}({ports}{f'; {options}' if options else ''})"
    return f"{head} -> {results} {{" if results else f"{head} {{"


def _declared(h: Holes) -> str | None:
    """`param W: [m, n] ~ glorot(n, m)`, or `weight W[m, n] ~ glorot(n, m)` in a block."""
    if h["around"] != "block" or re.search(r"\[[^\[\]]*\bfor\b", h["rest"]):
        return None
    said = re.compile(r"\s*([^=~]+?)\s*(:=|<-|=|~)\s*(.+?)\s*")
    parts = [said.fullmatch(a) for a in arguments(h["rest"])]
    found = [p and (port(p[1]), p[2].replace(":=", "=").replace("<-", "="), p[3]) for p in parts]
    if any(p is None or p[0] is None or ":" in p[0] for p in found):
        return None
    return f"{h.get('declared', 'param')} " + ", ".join(" ".join(map(str, p)) for p in found if p)


_CLAUSES = {
    "batch_size": "batch {}", "batchsize": "batch {}", "batch": "batch {}", "bs": "batch {}",
    "epochs": "for {} epochs", "epoch": "for {} epochs", "n_epochs": "for {} epochs",
    "num_epochs": "for {} epochs", "nb_epoch": "for {} epochs", "updates": "for {} updates",
    "steps": "for {} updates", "iterations": "for {} updates", "seed": "seed {}",
    "dtype": "dtype {}", "stream": "stream {}",
}  # fmt: skip


def _phase(h: Holes) -> str | None:
    """`train fit(mnist, batch_size = 20, epochs = 3) {`."""
    data, clauses = "", list[str]()
    for part in arguments(h["inside"]):
        name, equal, value = (p.strip() for p in part.partition("="))
        if not equal and not data and re.fullmatch(r"\w+(\.\w+)?", name):
            data = name
        elif name in ("data", "on", "dataset") and not data:
            data = value
        elif name in _CLAUSES and equal:
            clauses.append(_CLAUSES[name].format(value))
        else:
            return None
    tail = h["tail"].strip(" :{")
    data, tail = data or tail.removeprefix("on "), tail if data else ""
    head = " ".join(filter(None, (f"train {h['f']} on {data}", tail, *clauses)))
    return f"{head} {{" if data else None


def pipeline(h: Holes) -> str | None:
    """`def net(x): ...` of layers one after another, as a chain of them."""
    lines = [line.strip() for line in f"{h['tail'].lstrip(':')}\n{h['indented']}".split("\n")]
    value, parts = h["inside"].split(":")[0].strip(), list[str]()
    for line in (x for x in lines if x and x[0] not in "#\"'"):
        step = re.fullmatch(r"(?:(?P<name>\w+)\s*=|(?P<last>return)\b)\s*(?P<what>.+)", line)
        made = _applied(step["what"], value) if step else None
        if step is None or made is None:
            return None
        value, parts = step["name"] or value, [*parts, *made]
        if step["last"]:
            net = parts[0] if len(parts) == 1 else f"chain([{', '.join(parts)}])"
            return f"let {h['f']} = {net}" if any("(" in p for p in parts) else None
    return None


def _applied(text: str, value: str) -> list[str] | None:
    """`dense(10)(tanh(x))` as [tanh, dense(10)], of x."""
    if text.strip() == value:
        return []
    found = re.fullmatch(rf"\s*([A-Za-z_][\w.]*(?:\({INNER}\))?)\(({INNER})\)\s*", text)
    within = _applied(found[2], value) if found else None
    return [*within, found[1]] if found and within is not None else None


def _ported(h: Holes) -> str | None:
    """`input x[784]`, in a block."""
    if h["rest"].startswith(","):
        return None
    head = re.findall(r"block\s+(\w+)", h["above"])
    ins, outs = ("y[10]", "x[784]"), h["flows"] in ("out", "output", "outputs", "results", "result")
    said = port(h["rest"]) or ins[not outs]
    ports = (ins[1], said) if outs else (said, ins[0])
    return f": block {head[-1] if head else 'net'}({ports[0]}) -> {ports[1]} {{"


def _bare(h: Holes) -> str | None:
    """`block net x[784] -> y[10] {`, or `block net = (x[784]) -> y[10] {`."""
    inside, arrow, results = h["ports"].strip(" =:{").partition("->")
    inside = inside.strip()
    inside = inside[1:-1] if re.fullmatch(r"\(.*\)", inside) else inside
    return _head({**h, "inside": inside, "tail": f"{arrow} {results} {{" if arrow else "{"})


def _looped(h: Holes) -> str | None:
    """`scan t from 1 to time {`, or `for (i = 0; i < 3; i++) {`."""
    said = h.get("inside") or f"{h['f']} {h['loops']} {h['cond']}"
    word = h["loop_word"]
    counted = re.fullmatch(
        r"\s*(?:int |var |let )?(\w+)\s*(?:=|from|in|over|along)?\s*(\w+)?\s*"
        r"(?:(?:to|until|\.\.|,|:|;\s*\w+\s*(<=?))\s*(\w+))?\s*(?:;.*)?",
        said,
    )
    if counted is None or not (counted[2] or counted[4]):
        return None
    name, first, less, last = counted.groups()
    if "time" in (first, last) or word == "scan":
        return f"scan {name} in {last or first} {{"
    if last is None:
        return f"{word} {name} in {first} {{"
    last = f"{int(last) - 1}" if less == "<" and last.isdigit() else last
    return f"for {name} in {first}..{last}{' - 1' if less == '<' and not last.isdigit() else ''} {{"


def _instance(h: Holes) -> str | None:
    """`perceptron net`, of a block of the spec."""
    return f"let {h['g']} = {h['f']}()" if re.search(rf"block {h['f']}\b", h["source"]) else None


def _optimiser(h: Holes) -> str | None:
    """`optimizer sgd(lr = 0.5)`, or `sgd(lr = 0.5)` alone, in a phase."""
    said = h["tail"].strip(" =:")
    if h["around"] != "train" or not re.fullmatch(r"\w+\(.*\)", said):
        return None
    return f": minimize loss over net with {said}"


def _unprimed(h: Holes) -> str:
    return "block " + re.sub(r"(\w)'", r"\1_2", h["primed"])


def _digits(h: Holes) -> str:
    """`const 2layer = 100`."""
    name = re.sub(r"^(\d+)(\w+)", r"\2\1", h["digited"])
    return f"{h['namer']} {name} {h['tail']}"


def _titled(h: Holes) -> str | None:
    """`check sizes {`; where nothing stands, what it says is lost."""
    said = h["cond"].strip()
    return f'check "{said}" {{' if said not in ("", "slow") else None


def _used(h: Holes) -> str | None:
    """`import mnist`, of a spec; a library of another tool is none."""
    name = h["f"]
    return None if name in KNOWN_LIBRARIES else f'use "{name}.dln"'


def _optimised(h: Holes) -> str | None:
    """`with sgd lr = 0.5`."""
    given = ", ".join(f"{OPTIONS.get(k, k)} = {v}" for k, v in _pairs(h["given"]))
    return f"minimize {h['lrest']} with {h['f']}({given})" if given else None


def _pairs(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(\w+)\s*[=:]?\s*([\d.]+(?:e-?\d+)?|\w+)(?:\s*,\s*|\s+|$)", text.strip())


KNOWN_LIBRARIES = frozenset(
    "numpy np torch keras tensorflow tf jax jnp theano math random os sys time lasagne sklearn "
    "matplotlib plt pandas pd scipy flax optax haiku pytorch caffe nn torchvision mxnet".split()
)
HEAD = "a block has its ports in ( ), options behind a semicolon, and its results behind ->"
DECLARED = "a parameter is declared with its sizes in [ ]: param W[m, n] ~ glorot(n, m)"
PORT = "what flows into a block and out of it stands in its first line"
FILE = "another spec is read by use, with its file in quotes"
OPTIMISER = "an optimiser has its options in ( )"
COLON = "no colon stands behind the word that a statement begins with"

PRIME = "a name has no ' in it: behind a name it turns a matrix"
LOOP = "what is gone through stands after in: for k in 0..2, scan t in time"
PHASE = "a phase says its data behind on, then batch and for"
COMMA = "the parts of a statement have no commas between them"
NET = "a net of layers is a chain of them, and is named with let"
ROWS = tuple(
    Idiom(form, here, says, code)
    for code, form, here, says in (
        (
            "E113",
            '^include|import|require|load|source|open|from "{text}"{importing}',
            'use "{text}"',
            FILE,
        ),
        (
            "E113",
            '^import {f} from "{text}"',
            lambda h: f'use "{h["text"] if h["text"].endswith(".dln") else h["f"] + ".dln"}"',
            FILE,
        ),
        ("E113", "^include|import|require|load|source {f}.dln", 'use "{f}.dln"', FILE),
        ("E113", "^from {f} import {tail}", _used, FILE),
        ("E113", "^include|import|require {f}{blank}", _used, FILE),
        ("E113", "^```{tail}", "", "a spec is the text between such marks: this line is left out"),
        (
            "E113",
            "{before} new {f}({inside})",
            "{before} {f}({inside})",
            "nothing is made with new: a block or its name is called",
        ),
        ("E113", "^{f} {g}{blank}", _instance, "an instance is named with let, and made with ( )"),
        (
            "E113",
            "^{optimises} {tail}",
            _optimiser,
            "an optimiser is named in minimize, after with",
        ),
        ("E110", "^{f}' = {rest}", "{f}_2 = {rest}", PRIME),
        ("E110", "^block {primed}", _unprimed, PRIME),
        ("E113", "^{namer} {f}-{g}{tail}", "{namer} {f}_{g} {tail}", "a name has no - in it"),
        ("E113", "^{namer} {digited}{tail}", _digits, "a name begins with a letter"),
        ("E110", "^{begins}: {rest}", "{begins} {rest}", COLON),
        ("E114", "^{declares} {rest}", _declared, DECLARED),
        ("E114", "{comma}", " ", COMMA),
        (
            "E114",
            "batch|mini size {number}",
            "batch {number}",
            "examples of one update are batch 100",
        ),
        ("E117", "^{flows} {rest}", _ported, PORT),
    )
)
# Statements that are known, with their parts in the form of other tools.
REWRITES = tuple(
    Idiom(form, here, says, code)
    for code, form, here, says in (
        ("E114", '^use {f} from "{text}"', 'use "{text}"', FILE),
        ("E114", "^use {f}.dln", 'use "{f}.dln"', FILE),
        ("E114", "^use {f}{blank}", _used, FILE),
        ("E117", "^{heading} {f}({inside}){tail}", _block, HEAD),
        ("E117", "^{heading} {f} {ports}", _bare, HEAD),
        ("E114", "^check {cond} {", _titled, "a check has its text in quotes"),
        ("E114", "^task {f} {", "task {f}() {", "a task has ( ), for its options"),
        ("E114", "^{loop_word} {f} {loops} {cond} {", _looped, LOOP),
        ("E114", "^{loop_word} ({inside}) {", _looped, LOOP),
        ("E110", "^energy: {rest}", "energy = {rest}", "the energy is defined with ="),
        ("E114", "^minimize over {x} {lrest} with {tail}", "minimize {lrest} over {x} with {tail}",
         "what is made small stands first, then over"),
        ("E110", "^{f} = [{k}:{c}]",
         lambda h: f"{h['f']}[{int(h['c']) - int(h['k'])}] = raw[{h['k']}:{h['c']}]"
         if h["around"] == "data" and h["c"].isdigit() else None, "columns of a table are raw[:4]"),
        ("E114", "^train {f}({inside}){tail}", _phase, PHASE),
        ("E114", "^train {f}: {lrest} {", lambda h: _phase({**h, "inside": h["lrest"], "tail": ""}),
         PHASE),
        ("E114", "^{declared} {rest}", _declared, DECLARED),
        ("E114", "^minimize {lrest} on {x} over {tail}", "minimize {lrest} over {tail}",
         "a phase learns from the data of its header; a watch looks at others: watch e = ... on d"),
        ("E114", "^minimize|minimise {lrest} with {f}{given}", _optimised, OPTIMISER),
        ("E114", "^minimize {lrest} {wrt} {cond} with {tail}",
         "minimize {lrest} over {cond} with {tail}", "what is changed stands behind over"),
        ("E114", "^minimize {lrest} over {cond} {by} {tail}",
         "minimize {lrest} over {cond} with {tail}", "the optimiser stands behind with"),
        ("E114", "^minimize {lrest} with {by} {tail}", "minimize {lrest} with {tail}",
         "the optimiser stands behind with"),
        ("E110", "^{naming} {f}: {rest}", "{naming} {f} = {rest}", "a value is defined with ="),
        ("E114", '^watch "{text}" = {rest}',
         lambda h: f"watch {'_'.join(h['text'].split())} = {h['rest']}",
         "a watched value has a name, without quotes"),
    )
)  # fmt: skip
