"""Further statements of other tools that the parser refuses, looked for before the others."""

from __future__ import annotations

import re

from dln.grammar.idioms.forms import Idiom
from dln.grammar.idioms.names import arguments
from dln.grammar.idioms.notation import product

Holes = dict[str, str]
FUNCTIONS = frozenset("softmax relu tanh sigmoid flatten dropout last stop exp log".split())
KEY = re.compile(r"(?:(?<=,)|(?<=, )|(?<=^))(\w+)[ \t]*:[ \t]*")
SIDE = re.compile(r"\b([A-Za-z]\w*'?)[ \t]+([A-Za-z]\w*'?)(?![\w(\[]|[ \t]*[=~:])")


def _named_last(h: Holes) -> str | None:
    """`x -> dense(10) -> h`, whose last name is what it is called, as other lines read it."""
    name = h["f"]
    read = len(re.findall(rf"(?<![\w.]){name}\b(?!\s*=)", h["source"]))
    return None if name in FUNCTIONS or read < 2 else f"{name} = {h['flow'].strip()}"


def _result(h: Holes) -> str | None:
    """`x -> dense(100) -> dense(10)` in a block whose result has no equation."""
    head = re.findall(r"block[^\n]*->\s*(\w+)", h["above"])
    body = h["source"][len(h["above"]) :] + h["above"].rpartition("block")[2]
    if h["around"] != "block" or not head or re.search(rf"^\s*{head[-1]}\s*[=:[~]", body, re.M):
        return None
    return f"{head[-1]} = {h['flow'].strip()}"


def _multiplied(h: Holes) -> str | None:
    """`sigmoid(W x + b)`, with the mark of the product where the sizes say which."""

    def put(found: re.Match[str]) -> str:
        mark = product(found[1], found[2], h["source"])
        return f"{found[1]} {mark} {found[2]}" if mark else found[0]

    made, before = SIDE.sub(put, h["apart"]), h["apart"]
    while made != before:
        made, before = SIDE.sub(put, made), made
    return None if made == h["apart"] else made


def _lets(h: Holes) -> str | None:
    """`let q = dense(8), k = dense(8)`, on a line for each."""
    parts = [part.strip() for part in arguments(h["rest"])]
    whole = len(parts) > 1 and all(re.match(r"[A-Za-z]\w*\s*=(?!=)", part) for part in parts)
    return "\n".join(f"let {part}" for part in parts) if whole else None


def _parts(h: Holes) -> str | None:
    """`split fit 0.8 valid 0.2`, with its commas."""
    made = re.sub(
        r"(\d[\d.]*|\])[ \t]+(?!shuffled|seed|by\b)(?=[a-z]\w*[ \t]+\d)", r"\1, ", h["rest"]
    )
    return f"split {made}" if made != h["rest"] else None


def _unit(h: Holes) -> str | None:
    """`const hidden = 20 units`, of a word that stands nowhere else."""
    alone = len(re.findall(rf"\b{h['g']}\b", h["source"])) == 1
    return f"const {h['f']} = {h['number']}  # {h['g']}" if alone else None


def _lines(h: Holes) -> str | None:
    """`minimize e over a with sgd(lr = 1), b with adam()`, on a line for each."""
    found = [part.strip() for part in arguments(h["rest"])]
    whole = len(found) > 1 and all(re.fullmatch(r"\S.* with \w+\(.*\)", part) for part in found)
    return "\n".join(f"minimize {h['lrest']} over {part}" for part in found) if whole else None


def _sequence(h: Holes) -> str | None:
    """`out, (h, c) = lstm(16)(x)`: a layer gives what it has at each step."""
    made = re.fullmatch(r"(.*\))\s*\((\w+)\)", h["rest"].strip())
    flow = f"{made[2]} -> {made[1]}" if made else h["rest"].strip()
    return f"{h['f']} = {flow}\n{h['names'].split(',')[0].strip()} = last({h['f']})"


def _options(h: Holes) -> str:
    """`dense(m: 100, act: relu)`."""
    given = KEY.sub(r"\1 = ", h["keyed"])
    return f"{h['f']}({given})"


def _classed(h: Holes) -> str | None:
    """A class of layers as a block, with the sizes that it names."""
    sizes = re.findall(r"Linear\(\s*(\d+)\s*,\s*(\d+)", h["indented"])
    if not sizes:
        return None
    names = [*(f"h{k}" for k in range(1, len(sizes))), "y"]
    acts = [", act = relu"] * (len(sizes) - 1) + [""]
    made = zip(names, ["x", *names], (m for _, m in sizes), acts, strict=False)
    lines = "\n".join(f"  {n} = {x} -> dense({m}{act})" for n, x, m, act in made)
    return f": block {h['f']}(x[{sizes[0][0]}]) -> y[{sizes[-1][1]}] {{\n{lines}\n}}"


def _stalls(h: Holes) -> str:
    """`early_stopping error patience 3`."""
    said = re.sub(r"\b(?:monitor|patience|on|for|by|epochs?|with|min_delta|mode)\b", " ", h["tail"])
    names, numbers = re.findall(r"[A-Za-z]\w*", said), re.findall(r"\b[1-9]\d*\b", said)
    if len(names) == len(numbers) == 1 and f"watch {names[0]} " in h["source"]:
        return f"until {names[0]} stalls for {numbers[0]} epochs"
    return ": until error stalls for 3 epochs"


def _worded(h: Holes) -> str | None:
    """`a && !(b || c)`."""
    text = h["logic"]
    if re.search(
        r"\|\|[^|]*\|\|\s*(?:$|[-+*/^)<>=]|(?:every|on|over|with|within)\b)", text
    ):  # the length of a vector
        return None
    if len(re.findall(r"&&|\|\||!(?!=)", text)) == 1:  # the mark alone is shown
        return None
    for mark, word in (("&&", " and "), ("||", " or ")):
        text = text.replace(mark, word)
    return " ".join(re.sub(r"!(?!=)\s*", "not ", text).split())


def _undotted(h: Holes) -> str | None:
    """`tanh.(2 .* x .+ 1)`; a single sign is shown alone."""
    made, n = re.subn(r"\.(?=[-+*/^(])", "", h["dots"])
    return made.strip() if n > 1 or re.search(r"\.[-+(]", h["dots"]) else None


def _stepped(h: Holes) -> str:
    """`vary lr in 0.1:0.1:1`."""
    word = "for" if h["around"] != "sweep" else "vary"
    first, by, last = h["first"], h["each"], h["stop"]
    return f"{word} {h['f']} in {first}..{last} by {by}" + " {" * (word == "for")


def _inlined(h: Holes) -> str | None:
    """`fn f(a) { b = 2 * a; return b + 1 }`, as one expression."""
    lines = [x.split("#")[0].strip() for x in re.split(r"[;\n]", h["steps"])]
    lines, known = [x for x in lines if x], dict[str, str]()
    for k, line in enumerate(lines):
        step = re.fullmatch(r"(?:(?:let|var|const)\s+)?([A-Za-z_]\w*)\s*=(?!=)\s*(.+)", line)
        last = k == len(lines) - 1
        if step is None and not last:
            return None
        value = step[2] if step else re.sub(r"^return\b\s*", "", line)
        for name in known:
            value = re.sub(rf"(?<![\w.]){name}\b", lambda m: known[m[0]], value)
        value = re.sub(r"\(\(([^()]*)\)\)", r"(\1)", value)
        if last:
            return f"fn {h['f']}({h['args']}) = {value}" if len(value) < LONGEST else None
        plain = re.fullmatch(r"[\w.]+(?:\([^()]*\))?", value)
        known[step[1] if step else ""] = value if plain else f"({value})"
    return None


def _rows(h: Holes) -> str:
    """`[1, 2; 3, 4]`, as MATLAB has it."""
    rows = [
        re.sub(r"(?<=[\w.])[ \t]+(?=[-\w.])", ", ", row.strip()) for row in h["rowed"].split(";")
    ]
    return f"[{', '.join(f'[{row}]' for row in rows if row)}]"


def _varied(h: Holes) -> str | None:
    """`vary lr in [0.1, 0.01] and hidden in [20, 40]`, on a line for each."""
    parts = re.split(
        r"\s*(?:,|;|&|\band\b|\bx\b|\*)\s*(?:vary\s+)?(?=[A-Za-z]\w*\s+in\b)", h["rest"]
    )
    return "\n".join(f"vary {part.strip()}" for part in parts) if len(parts) > 1 else None


def _watches(h: Holes) -> str | None:
    """`watch a = ..., b = ... every 1 epoch`, on a line for each."""
    clauses = re.search(r"\s+(?:on\s+[\w.]+\s*)?(?:every\b.*)?$", h["rest"])
    tail = clauses[0].rstrip() if clauses else ""
    parts = [part.strip() for part in arguments(h["rest"].removesuffix(tail))]
    several = len(parts) > 1 and all(re.match(r"[A-Za-z]\w*\s*=(?!=)", part) for part in parts)
    return "\n".join(f"watch {part}{tail}" for part in parts) if several else None


def _kept(h: Holes) -> str | None:
    """`checkpoint "best.ckpt" by error`; in a task what is kept is a value."""
    if h["around"] != "train":
        value = h.get("lrest", "").strip()
        return f'emit {value} to "{h["text"]}"' if h["around"] == "task" and value else None
    said = f"{h.get('lrest', '')} {h['tail']}"
    by = re.search(r"\bby\s+(\w+)|\bevery\b.*", said)
    return (
        f"checkpoint best by {by[1]}"
        if by and by[1]
        else f"checkpoint {by[0] if by else 'every 1 epoch'}"
    )


def _better(h: Holes) -> str | None:
    """`until error does not improve for 5 epochs`."""
    long = re.search(r"(\d+) *(epoch|update|step)?", h["improves"])
    unit = long[2] or "epoch" if long else ""
    return (
        f"until {h['f']} stalls for {long[1]} {unit.replace('step', 'update')}s" if long else None
    )


def _rate(h: Holes) -> str:
    """`lr = lambda e: 0.1 / (1 + e)`."""
    clock = "update" if h["f"].startswith(("step", "it", "n", "t", "update")) else "epoch"
    return "lr = " + re.sub(rf"(?<![\w.]){h['f']}\b", clock, h["a"].strip())


def _filed(h: Holes) -> str:
    """`emit e to "w" + k + ".png"`."""
    ends = re.findall(r'"(\.\w+)"', h["tail"])
    return f'emit {h["lrest"]} to "{h["text"].rstrip("-_.")}{ends[-1] if ends else ""}"'


def _options_last(h: Holes) -> str | None:
    """`optimiser o(p, g, lr) {`."""
    given = [a.strip() for a in arguments(h["inside"])]
    if ";" in h["inside"] or len(given) < 3:
        return None
    return f"optimiser {h['f']}({', '.join(given[:2])}; {', '.join(given[2:])}) {h['tail'].strip()}"


def _stopped(h: Holes) -> str:
    """`for 20 epochs callbacks EarlyStopping(patience = 3) {`."""
    long = re.search(r"\d+", h["tail"])
    return f": until error stalls for {long[0] if long else 5} epochs, of a watch error"


def _swept(h: Holes) -> str:
    """`sweep hidden in [10, 20] {`."""
    return f"sweep each_{h['f']} {{\n  vary {h['f']} in {h['lrest'].strip()}"


def _shares(h: Holes) -> str:
    """`split fit 80, test 20 percent`."""
    bare = re.sub(r"\s*(?:per ?cent|pct)\b", "", h["shared"])
    return "split " + re.sub(r"\b(\d+)\b(?!\])", lambda m: f"{int(m[1]) / 100:g}", bare)


def _to_file(h: Holes) -> str | None:
    """`emit plot(a) "a.png"`."""
    whole = h["lrest"].strip().endswith(")")
    return f'emit {h["lrest"]} to "{h["text"]}"' if whole else None


def _share(h: Holes) -> str:
    return f"* {h['percent'].rstrip('% ')}"


LONGEST = 120  # characters of an expression that is written out
KEPT = "a run keeps what it has learnt in a folder of its own: no file is named"
CLAUSE = "a clause has its word and its value: batch 100"
LONG = "how long a phase lasts stands in its first line"

ROWS = tuple(
    Idiom(form, here, says, code)
    for code, form, here, says in (
        ("E110", "^fn {f}({args}) {stepwise}", _inlined, "a function is one expression, after ="),
        ("E119", "[{rowed}]", _rows, "the rows of a matrix are lists in a list"),
        ("E114", "^vary {rest}", _varied, "each constant that is varied has a line of its own"),
        ("E114", "^watch {rest}", _watches, "each watch has a line of its own"),
        ("E114", '^checkpoint|save|keep "{text}"{tail}', _kept, KEPT),
        ("E114", '^save|write|store|dump {lrest} to|in|as "{text}"{tail}',
         lambda h: _kept(h) if h["around"] == "task" else None,
         "a task gives a value out with emit"),
        ("E114", '^checkpoint|save|keep {lrest} to|in|as "{text}"{tail}', _kept, KEPT),
        ("E114", "^until {f} {improves}", _better, "a phase waits for a watch with stalls"),
        ("E113", "lr|learning_rate = lambda {f}: {a}", _rate,
         "a rate that changes is an expression of epoch, update or progress"),
        ("E114", '^emit {lrest} to "{text}" {sign} {tail}', _filed,
         "files of one line in a for are numbered by themselves"),
        ("E114", "^optimiser {f}({inside}) {tail}", _options_last,
         "an optimiser names its value and gradient, then its options after ;"),
        ("E113", "~Input|InputLayer({inside}), ", " ", "what flows in says its shape itself"),
        ("E113", "^@{f}{blank}", "", "nothing is decorated: all is differentiated and compiled"),
        ("E114", "^train {lrest} callbacks|callback|early_stopping|patience {tail}", _stopped,
         "a phase ends by a line of its own, between its braces"),
        ("E119", "= {{listing}}", "= [{listing}]", "several values are a list, in [ ]"),
        ("E114", "^sweep {f} in|over {lrest} {", _swept,
         "a sweep has a name, and says on a line of its own what it varies"),
        ("E117", "^block {lrest}] {named} {", "block {lrest}]: {named} {",
         "a domain stands behind a colon"),
        ("E112", "{percent} *", lambda h: f"{h['percent'].rstrip('% ')} *",
         "a share is a number: times 100 it is one in per cent"),
        ("E114", "= if {q}: {r} else: {other}", "= {r} if {q} else {other}",
         "a choice is written value first: a if test else b"),
        ("E114", "^watch {f} {untold}", ": watch {f} = argmax(net(x)) != label {untold}",
         "a watched value is an equation: its name, = and what it is"),
        ("E114", "^split {shared}", _shares, "shares are written as numbers from 0 to 1"),
        ("E119", "{squared}", lambda h: h["squared"].split("x")[0].strip(),
         "windows are square, and their size is one number"),
        ("E114", "for {unit} {number}", "for {number} {unit}", "a time is a number and its unit"),
        ("E114", "^train on {rest}", "train fit on {rest}", "train needs a name and its data"),
        ("E114", "^minimize {lrest} batch|order|stream|seed {number}{blank}",
         lambda h: f": train fit on mnist batch {h['number']} for 1 epoch {{",
         "batch and duration of a phase stand in its first line"),
        ("E114", "^expect {cond} within {number} of {d}{blank}",
         "expect {cond} == {d} within {number}",
         "a tolerance is written within, behind what is expected"),
        ("E114", "^vary {f} in ({listed}){blank}", "vary {f} in [{listed}]",
         "what is varied stands in a list or a range"),
        ("E114", '^emit {lrest} "{text}"{blank}', _to_file,
         "the file that is written stands behind to"),
        ("E110", "^let {rest}", _lets, "each let has a line of its own"),
        ("E119", "raw.{f} {g}", "raw.{f}_{g}", "a column is one name, in which blanks are _"),
        ("E119", "^const {f} = {number} {g}{blank}", _unit, "a comment begins with #"),
        ("E114", "^minimize {lrest} over {rest}", _lines, "each optimiser has a line of minimize"),
        ("E110", "^{x}.requires_grad|trainable|frozen = {rest}",
         ": minimize loss over net[1] with adam(), which leaves net[0] as it is",
         "what is not named behind over is not learnt"),
        ("E114", "^split shuffled {rest}", "split {rest} shuffled",
         "how a split is dealt stands last"),
        ("E114", "^split {rest}", _parts, "parts of a split stand one after another with commas"),
        ("E113", "^{f}, ({names}) = {rest}", _sequence,
         "a recurrent layer gives h at each step; what it ends with is last(h)"),
        ("E112", "===", "==", "equal is written =="),
        ("E112", "!==", "!=", "unequal is written !="),
        ("E112", "^expect {cond} {roughly} {c}", ": expect {cond} == {c} within 0.01, or !=",
         "about equal has its tolerance behind within"),
        ("E112", "* {percent}", _share, "a share is a number: times 100 it is one in per cent"),
        ("E114", "^train {f}: on {tail}", "train {f} on {tail}", "no colon stands behind a name"),
        ("E114", "batch: {number}", "batch {number}", CLAUSE),
        ("E114", "seed: {number}", "seed {number}", CLAUSE),
        ("E116", "^{flow}{blank}", _result,
         "a definition has its name on the left: name = value -> block"),
        ("E116", "^{flow} -> {f}{blank}", _named_last,
         "a definition has its name on the left: name = value -> block"),
        ("E110", "^fn {f}({args}) {body}", "fn {f}({args}) = {one}",
         "a function is one expression, after ="),
        ("E114", "^watch {cond} every {k} {unit} on {rest}",
         "watch {cond} on {rest} every {k} {unit}",
         "the data of a watch stand before how often it is reported"),
        ("E113", "^if training|is_training|train_mode|learning {tail}",
         ": h = dropout(h, 0.5), or h = training(a, b), which is a where a phase learns, else b",
         "dropout acts by itself only where a phase learns"),
        ("E113", "^class {f}({inside}):{indented}", _classed, "a class of layers is a block"),
        ("E113", "^fn {f}({args}): return {rest}", "fn {f}({args}) = {rest}",
         "a function is one expression, after ="),
        ("E110", "^{f}: {g}[{inside}] = {rest}", "{f} = {rest}",
         "sizes follow from the equations, and numbers have no type"),
        ("E111", "^{closed}; {commenting} {rest}", "{closed}  # {rest}",
         "a statement ends with its line, and comments start with #"),
        ("E114", "{q} ? {r} : {other}", "{r} if {q} else {other}",
         "a choice is written a if test else b"),
        ("E112", "Dense|dense|Linear({c} => {number}{more})", "dense({number}{more})",
         "a layer says how many results it has: what it is given follows"),
        ("E110", "{f}({keyed})", _options, "an option is set with =, as in dense(10, act = tanh)"),
        ("E111", "^minimize {cond} for {k} {unit}",
         lambda h: f": train fit on mnist batch 100 for {h['k']} {h['unit']} {{", LONG),
        ("E114", "^early_stopping|early_stop|patience|stop_early {tail}",
         _stalls, "a phase ends by a condition on what it watches"),
        ("E114", "^minimize {cond} with {g}({x}.parameters(){more})",
         lambda h: f"minimize {h['cond']} over {h['x']} with "
         f"{h['g'].lower()}({h['more'].removeprefix(',').strip()})",
         "what minimize changes stands after over"),
        ("E119", "{exponent}", lambda h: "".join(h["exponent"].split()),
         "a number has no blanks in it"),
        ("E112", "^{dots}", _undotted,
         "functions and signs are element by element without a dot"),
        ("E112", "^{logic}", _worded, "truths are joined by and, or, not"),
        ("E114", "^vary|for {f} in {first}:{each}:{stop}", _stepped,
         "a range is written 0.1..1 by 0.1"),
        ("E119", "{pair} {fn} {l}", lambda h: f"{h['pair']} * {h['fn']}({h['l']})",
         "a product needs its mark, and what a function is given stands in brackets"),
        ("E119", "columns|column {k}..{number}", ": x[4] = raw[:4]",
         "the columns of a table are raw, from 0 on"),
        ("E119", "columns|column|col {k}", ": label: class(3) = raw[{k}]",
         "the columns of a table are raw, from 0 on"),
        ("E119", "^{apart}", _multiplied, "a product of matrices and vectors is written @"),
    )
)  # fmt: skip
