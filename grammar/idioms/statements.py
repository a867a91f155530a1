"""Statements of other languages and tools, which the parser refuses, and what is written here.

They are found in the statement of the refused token. A row that begins with ^ fits at its start.
Beside the holes, `around` is the item that a statement stands in, `above` the text before it.
"""

from __future__ import annotations

import re

from dln.grammar.idioms import guesses, heads, notation, phrases, slips
from dln.grammar.idioms.forms import Idiom
from dln.grammar.idioms.names import OPTIONS, arguments, same
from dln.grammar.idioms.phrases import EQUAL, MINIMIZE

Holes = dict[str, str]
NUMBER = notation.NUMBER


def _comment(h: Holes) -> str:
    lines = (h.get("all") or h.get("rest") or "").strip().split("\n")
    return "\n".join(f"# {line.strip().lstrip('*').strip()}" for line in lines)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Names and values of a dictionary."""
    found = (a.partition(":") for a in arguments(text.strip().strip("{}")))
    return [(name.strip().strip("\"'"), value.strip()) for name, _, value in found]


def _named(h: Holes) -> str | None:
    """A dictionary as values with names of their own."""
    found = _pairs(h["braces"])
    simple = all(name.isidentifier() and not value.startswith("{") for name, value in found)
    return "\n".join(f"const {k} = {v}" for k, v in found) if simple and not h["around"] else ""


def _in_call(h: Holes) -> str:
    found = [p for p in _pairs(h["braces"]) if p[0] not in ("type", "name")]
    given = (
        f"{OPTIONS.get(k, k)} = {same(v.strip(chr(34)), ()) if v[:1] == chr(34) else v}"
        for k, v in found
    )
    return f"{h['f']}({', '.join(given)})"


def _emitted(h: Holes) -> str | None:
    told = re.fullmatch(r'f"([^"]*)"', h["inside"].strip())
    inside = _joined({"text": told[1]}) if told else h["inside"]
    return f"emit {inside}" if h["around"] == "task" else None


def _let(h: Holes) -> str:
    return f"{h['f']} = {h['rest']}" if h["around"] else f"let {h['f']} = {h['rest']}"


def _arrow(h: Holes) -> str:
    """`hidden <- 100`."""
    word = "" if h["around"] else "const " if re.fullmatch(r"[\d.e-]+", h["rest"]) else "let "
    return f"{word}{h['f']} = {h['rest']}"


def _function(h: Holes) -> str | None:
    """`f(a) = a^2` at the top of a file; in a body it may be an element."""
    return None if h["around"] else f"fn {h['f']}({h['args']}) = {h['rest']}"


def _effect(h: Holes) -> str | None:
    """`seed(0)` on a line by itself."""
    return None if h["g"] in ("fn", "let", "const", "if", "while", "switch") else ""


def _given_out(h: Holes) -> str | None:
    """`tiles(x, 28, 28)` on a line by itself, in a task."""
    own = re.fullmatch(r"[a-z]\w*", h["g"]) and h["g"] not in ("seed", "fn", "if", "while", "for")
    return f"emit {h['g']}({h['inside']})" if h["around"] == "task" and own else None


def _stacked(h: Holes) -> str | None:
    """`dense(100)` and `dense(10)` on lines of their own in a block, one after the other."""
    head = re.findall(r"block\s+\w+\s*\(\s*(\w+)[^\n]*->\s*(\w+)", h["above"])
    lines = [line.strip() for line in f"{h['g']}({h['inside']})\n{h['calls']}".split("\n")]
    layers = [re.sub(r"\((\d+),\s*(\w+)\)$", r"(\1, act = \2)", line) for line in lines]
    if h["around"] != "block" or not head or h["g"].casefold() not in STACKING:
        return None
    return " -> ".join([f"{head[-1][1]} = {head[-1][0]}", *filter(None, layers)])


def _joined(h: Holes) -> str:
    """`f"error {e}"` as a text of parts."""
    parts = re.split(r"\{([^{}:]*)(?::[^{}]*)?\}", h["text"])
    told = [p if k % 2 else f'"{p}"' for k, p in enumerate(parts) if p]
    return f"text({', '.join(told)})"


def _each(h: Holes) -> str | None:
    """`const a, b = 3, 4`, on a line for each."""
    names, values = (arguments(h[k]) for k in ("names", "values"))
    word = "const" if h["source"].count("const") else "let"
    lines = (f"{word} {n.strip()} = {v.strip()}" for n, v in zip(names, values, strict=False))
    return "\n".join(lines) if len(names) == len(values) else None


def _key(h: Holes) -> str | None:
    """`hidden: 100` at the top of a file."""
    plain = re.fullmatch(r"[\d.]+|\"[^\"]*\"|\[[^\[\]]*\]", h["rest"])
    return f"const {h['f']} = {h['rest']}" if plain and not h["around"] else None


def _unpacked(h: Holes) -> str:
    """`y, h = net(x)`: one equation for each result; of a layer in a pipeline there is one."""
    if "->" in h["c"]:
        return f"{h['names'].split(',')[0].strip()} = {h['c'].strip()}"
    return "\n".join(f"{n.strip()} = {h['c'].strip()}.{n.strip()}" for n in h["names"].split(","))


def _added(h: Holes) -> str:
    """`model = Sequential()` and lines of `model.add(...)`."""
    layers = re.findall(r"\.\s*\w+\s*\((.*)\)\s*$", h["lines"], re.MULTILINE)
    inside = layers or arguments(h["inside"].strip().strip("[]"))
    return f"let {h['f']} = chain([{', '.join(a.strip() for a in inside)}])"


def _option(h: Holes) -> str:
    value = h["g"]
    return f"{OPTIONS.get(h['name'], h['name'])} = {same(value, ()) or value}"


def _lowered(h: Holes) -> str:
    """`maximize e over net with ...`."""
    loss = h["cond"].strip()
    total = "total " if loss.startswith("total ") else ""
    return f"minimize {total}-({loss.removeprefix('total ')}) over {h['tail'].strip()}"


def _less(h: Holes) -> str | None:
    """`p -= lr * g`, in an optimiser or of a parameter."""
    if h["around"] not in ("optimiser", "train"):
        return None
    if re.search(rf"^[ \t]*{re.escape(h['x'].split('[')[0])}\s*=(?!=)", h["above"], re.MULTILINE):
        return ": d = y - onehot(label), as a value with a name of its own"
    value = h["rest"] if re.fullmatch(r"[\w.*/@^()\[\] ]+", h["rest"]) else f"({h['rest']})"
    if h["around"] == "optimiser":
        return f"{h['x']} := {h['x']} {h['sign']} {value}"
    if h["sign"] in "+-":
        return f"update {h['x']} += {'-' if h['sign'] == '-' else ''}{value}"
    return f"update {h['x']} += ({h['x']} {h['sign']} {value}) - {h['x']}"


def _returned(h: Holes) -> str | None:
    """`return W @ x` in a block whose header names its result."""
    if h["around"] == "optimiser":
        return f"p := {h['rest']}"
    result = re.findall(r"->\s*(\w+)[^\n{]*\{", h["above"])
    single = re.fullmatch(r"\w+", h["rest"])
    return f"{result[-1]} = {h['rest']}" if result and not single else None


def _layer(h: Holes) -> str:
    """A layer of Caffe, Darknet or ConvNetJS, as a block."""
    found = dict(re.findall(r"(\w+)\s*[:=]\s*[\"']?([\w.]+)", h["fields"]))
    kind = (found.get("type") or h.get("f") or "").casefold()
    size = found.get("kernel_size") or found.get("size") or found.get("sx") or "3"
    maps = found.get("num_output") or found.get("filters") or "32"
    act = f", act = {found['activation']}" if "activation" in found else ""
    units = found.get("num_neurons") or found.get("output") or found.get("num_classes")
    if kind.startswith("conv"):
        made = f"conv({maps}, {size}{act})"
    elif kind in ("innerproduct", "fc", "connected", "softmax", "regression"):
        made = f"dense({units or maps}{act})"
    elif kind.startswith(("pool", "maxpool")):
        made = f"max_pool({size if size != '3' else found.get('stride', '2')})"
    elif kind in ("lstm", "gru", "rnn"):
        made = f"{kind}({units or maps})"
    else:
        return ""
    name = found.get("top") or found.get("name") or kind
    return (
        f"let {name} = {made}"
        if not h["around"]
        else f"{name} = {found.get('bottom', 'x')} -> {made}"
    )


def _compared(h: Holes) -> str | None:
    """`watch error = argmax(z) = label`; two of which one is a number are hardly compared, nor two
    of which something is worked out: `mean((x = y)^2)`."""
    side, depth = h["side"].strip(), 0
    for at, mark in enumerate(h["rest"]):
        depth += (mark in "([") - (mark in ")]")
        if depth < 0:
            if h["rest"][at + 1 :].lstrip()[:1] in tuple("^*/+-@"):
                return None
            break
    return None if NUMBER.fullmatch(side) else f"watch {h['f']} = {side} == {h['rest']}"


def _choice(h: Holes) -> str:
    """An if over several lines, as a choice of two values."""
    then, other = (f"({v})" if "->" in v else v for v in (h["then"], h["other"]))
    return f"{h['target']} = {then} if {h['test']} else {other}"


def _columns(h: Holes) -> str:
    """`raw[['a', 'b']]`, of a table."""
    said = (part.strip(" '\"") for part in h["listed"].split(","))
    made = (f"raw.{name}" if name.isidentifier() else f'raw["{name}"]' for name in said)
    return f"[{', '.join(made)}]"


def _when(h: Holes) -> str | None:
    """An if over one value that has another on a line above."""
    above = re.findall(rf"^[ \t]*{h['target']}\s*=(?!=)\s*([^\n#]+)", h["above"], re.MULTILINE)
    other = above[-1].strip() if above else "0"
    return f": {h['target']} = {h['then'].strip()} if {h['test']} else {other}"


ONE = "a line names one value"
PAIRS = "there are no dictionaries: each value has a name of its own"
LOOP = "training is a phase, with its data and its time; nothing is looped over by hand"
PHASE = ": train fit on mnist.fit batch 100 for 10 epochs {"
STEPS = "training steps are not written out: minimize says what is made small, over what, by what"
STACK = "layers one after another are a chain, or a block with an equation for each"
LAYER = "a layer is a block in an equation, with the number of its results"
FN = "a function has a name and a line of its own, starting with fn"
COMMENT = "comments start with #"


SIGN = "there are no signs that change a value: an equation holds, a parameter moves by update"


EFFECT = "nothing is called for what it does: leave the line out, or name a value: y = f(x)"
DRAWN = "what is drawn has the shape of what it is drawn for: param W[m, n] ~ normal(0, 0.1)"
STACKED = "layers are applied one after another: y = x -> dense(100, act = relu) -> dense(10)"
STACKING = frozenset(
    "dense conv rnn lstm gru max_pool mean_pool flatten dropout relu tanh sigmoid softmax linear "
    "batch_norm".split()
)
HERE = "nothing is done one after another: a spec says what holds"

OWN = tuple(
    Idiom(form, here, says, code)
    for code, form, here, says in (
        # -- comments, and texts in the place of comments
        ("E112", "^/*{all}*/", _comment, COMMENT),
        ("E112", "^--{rest}", _comment, COMMENT), ("E112", "^//{rest}", _comment, COMMENT),
        ("E112", "^<!--{rest}", _comment, COMMENT), ("E112", "^%{rest}", _comment, COMMENT),
        ("E113", '^"""{all}"""', _comment, "a text alone says nothing: comments start with #"),
        ("E112", "/*{rest}*/", "# {rest}", COMMENT),
        # -- layers of other tools
        ("E113", "^layer|layers {fields}", _layer, LAYER),
        ("E113", "^[{f}]{fields}", _layer, LAYER),
        ("E113", "^{g}.push({fields})", _layer, LAYER),
        ("E113", "^{f} = Sequential|Chain|Model({inside}){lines}", _added, STACK),
        ("E113", "^{x}.append|push_back|extend|insert({inside})",
         lambda h: ": h[t] = ..., in the scan" if "scan" in h["above"] else None,
         "what is found at each step is a sequence"),
        ("E113", "^{layers}.add|append|push|add_module({inside})",
         ": let net = chain([dense(100, act = relu), dense(10)])", STACK),
        ("E112", "{l} {unequal} {r}", "{l} != {r}", "unequal is written !="),
        ("E112", '"{text}" % {rest}', ': text("error ", e)', "texts and values are joined by text"),
        ("E111", "^{closed}; {rest}", "{closed}\n{rest}", "a statement ends with its line"),
        ("E115", "^for {f} in {k}:{number}", "for {f} in {k}..{number}",
         "a range is written 1..9, both ends included"),
        ("E110", "^self.{f} = {rest}", "{f} = {rest}",
         "a block has no self: its names stand alone"),
        ("E113", "{f}({a}, input_shape|batch_input_shape|shape = {tuple})", "{f}({a})",
         "what flows in says its shape itself"),
        ("E113", "~normal({g}, {tuple})", "normal(0, 1)", DRAWN),
        ("E113", "~uniform({g}, {tuple})", "uniform(0, 1)", DRAWN),
        ("E113", "^({names}) = {c}", _unpacked, "an equation has one name: results are net(x).y"),
        ("E113", "^for {vars} in {loop}:{indented}", lambda h:
         ": for k in 0..2 {" if h["around"] == "block" else None, "a for has its body in braces"),
        ("E113", "^super({tail}", "", "a block has no constructor: this line is left out"),
        ("E113", "^try|except|finally|raise|global|nonlocal|del|pass|yield|async|await|break|"
         "continue{tail}", "",
         "a spec is no program: it says what there is, and this line is left out"),
        ("E113", "^clip_grad_norm_|clip_grad_norm|clip_by_norm|clip_by_global_norm({inside})",
         ": minimize e over net with adam(lr = 0.001) clip 5",
         "a gradient is limited where it is used"),
        ("E113", "^clip_grad_value_({inside})",
         ": rmsprop(lr = 0.01, clip = 5), or h = max(min(g, 5), -5) in an optimiser of one's own",
         "gradients are cut by the optimiser"),
        ("E113", "^register_buffer({inside})", ": fixed m[n] = 0", "what is not learnt is fixed"),
        ("E113", "^register_parameter|add_weight|Parameter({inside})",
         ": param W[m, n] ~ glorot(n, m)", "what is learnt is a parameter"),
        ("E113", "^{f} = ~Input({inside})", ": block net(x[784]) -> y[10] { ... }",
         "what flows in is a port of a block"),
        ("E110", "^{f} {put} function({args}) {rest}", "fn {f}({args}) = {rest}", FN),
        ("E113", "^let|const {f} = function({args}) {rest}", "fn {f}({args}) = {rest}", FN),
        ("E113", "^fn {f}({args}) = return {rest}", "fn {f}({args}) = {rest}", FN),
        ("E113", "^fn {f}({args}): {rest}", "fn {f}({args}) = {rest}", FN),
        ("E113", "^let|const {f}({args}) = {rest}", "fn {f}({args}) = {rest}", FN),
        ("E113", "^{f}({args}) = {rest}", _function, FN),
        ("E110", "^{f}({args}) = {rest}",
         lambda h: None if notation.of_energy(h) else notation.bracketed(h),
         "indices stand in [ ]"),
        ("E110", "^{f}({args}) = {rest}", "energy = {rest}", "energy is defined with ="),
        ("E110", "^{names} = ~train_test_split|random_split|split_data({inside})",
         ": split fit 0.8, valid 0.2, in the data set, and d.fit",
         "the parts of data are said where it is declared"),
        ("E110", "^{names} = ~chunk|split|tensor_split|unbind|array_split({inside})",
         ": a = x[:392], and b = x[392:]", "a stretch of a tensor is a slice"),
        ("E113", "{option} = ({k}, {again})", "{option} = {k}",
         "windows are square, and their size is one number"),
        ("E114", "^snapshot|save|checkpoint_every every {tail}", "checkpoint every {tail}",
         "what is kept is said by checkpoint"),
        ("E110", "^watch {f} = {side} {one} {rest}", _compared, EQUAL),
        ("E110", "^until {side} {one} {rest}", "until {side} == {rest}", EQUAL),
        ("E114", "^minimize {cond} with {lrest} over {tail}",
         "minimize {cond} over {tail} with {lrest}", "over stands before with"),
        # -- training by hand
        ("E113", "^maximize|maximise {cond} over {tail}", _lowered,
         "what is to be large is minimised with a minus sign"),
        ("E113", "^train({inside})", PHASE, LOOP),
        ("E113", "^{f}.train|eval()", "", HERE),
        ("E113", "^{f}.zero_grad|step|backward|compile|summary|build({inside})",
         MINIMIZE, STEPS),
        ("E113", "^{f}.fit|fit_generator|train_on_batch|evaluate|predict({inside})", PHASE, LOOP),
        # -- Python
        ("E113", "^def {f}({inside}){tail}{indented}", heads.pipeline, heads.NET),
        ("E113", "^def {f}({inside}):{returned}",
         lambda h: f"fn {h['f']}({h['inside']}) = {h['returned'].split('return ')[-1].strip()}",
         FN),
        ("E113", "^import|from|using|library|require|open|load {rest}", "",
         "a spec imports nothing: what it has functions for is always there, files come by use"),
        ("E113", "^var|val|int|float|double|auto|mut {f} = {rest}", _let,
         "a value is named with let, and does not change"),
        ("E113", "^for {vars} in {loop}:{indented}", PHASE, LOOP),
        ("E113", "^with ~no_grad|inference_mode|GradientTape|autocast({inside}){tail}", "",
         "watches move nothing, and minimize takes gradients by itself: this line is left out"),
        ("E113", "^with {cond}:{indented}", "", HERE),
        ("E113", "^@{f}{rest}", "", "nothing is decorated: all is differentiated and compiled"),
        ("E113", "^return {rest}", _returned,
         "a result has an equation under the name that the header of its block gives it"),
        ("E113", "^let|const {f} = lambda {args}:{rest}", "fn {f}({args}) = {rest}", FN),
        ("E113", "^{f} = lambda {args}:{rest}", "fn {f}({args}) = {rest}", FN),
        ("E113", "^let|const {f} = {g} => {rest}", "fn {f}({g}) = {rest}", FN),
        ("E113", "lambda {args}:", ": fn f(a) = max(a, 0), and f where the lambda stands", FN),
        ("E110", "^{names} = {c}", _unpacked, "an equation has one name: results are net(x).y"),
        ("E113", "^const|let {f} = {braces}", _named, PAIRS),
        ("E113", "^{f} = {braces}", _named, PAIRS),
        ("E113", "{f}({braces})", _in_call, "options are named in the call: dense(m = 10)"),
        ("E113", 'f"{text}"', _joined, "texts and values are joined by text"),
        ("E113", "^{choice}", _choice,
         "if is part of an expression, not a statement"),
        ("E113", "^{when}", _when, "if is part of an expression, not a statement"),
        ("E113", "^assert|ensure|verify|require {cond}, {tail}", "expect {cond}",
         "a requirement is written with expect"),
        ("E113", "^assert|ensure|verify|require {rest}", "expect {rest}",
         "a requirement is written with expect"),
        ("E113", "^print({inside})", lambda h: None if h["around"] else
         ": emit params(net), in a task; dln show SPEC prints what a spec is made of",
         phrases.GIVEN),
        ("E113", "^print({inside})", _emitted,
         "a task gives a value out with emit"),
        ("E110", "^const {f}: {g} = {rest}", "const {f} = {rest}", "a const has no type"),
        ("E110", "^let {f}: {g} = {rest}", "let {f} = {rest}", "a let has no type"),
        ("E110", "^const {names} = {values}", _each, ONE),
        ("E110", "^let {names} = {values}", _each, ONE),
        ("E113", "^{f}: {rest}", _key, "a spec has no keys: a value has a name, by const or let"),
        ("E113", "[{q} for {f} in {a}]", "[for {f} in {a}: {q}]",
         "in a list the for comes first, then a colon"),
        ("E113", "concatenate|cat|hstack|vstack|concat(({inside}){more})", "concat({inside})",
         "concat joins what it is given, along the first axis"),
        ("E105", "{name} = '{g}'", _option, "a function is given by its name, without quotes"),
        ("E105", "raw[[{listed}]]", _columns, "columns have their names one by one"),
        ("E105", "'{quoted}'", '"{quoted}"', "a text stands in double quotes"),
        ("E110", "^{x} {sign}= {rest}", _less, SIGN),
        ("E110", "^update {x} {sign}= {rest}", _less, SIGN),
        ("E110", "^{x}++", ": {x} := {x} + 1, in an optimiser or of a state", SIGN),
        ("E110", "^{x}--", ": {x} := {x} - 1, in an optimiser or of a state", SIGN),
        ("E110", "^{f} <- {rest}", _arrow, "a value is defined with ="),
        ("E112", "^end|endfor|endfunction|endblock|endif|done|fi{tail}", "}", "a body ends with }"),
        ("E113", "^~shuffle|permutation|sample({inside})", PHASE,
         "examples come in another order in each epoch by themselves"),
        ("E113", "^~xavier_uniform_|xavier_normal_|kaiming_uniform_|kaiming_normal_|normal_"
         "|uniform_|zeros_|ones_|constant_|orthogonal_|init_weights|initialize({inside})",
         ": param W[10, 784] ~ glorot(784, 10)",
         "first values are said where a parameter is declared"),
        ("E113", "^~manual_seed|set_seed|seed({inside})", ": train fit on mnist ... seed 7 {",
         "draws follow from the seed of the run, --seed 7, and of a phase"),
        ("E113", "^~save|dump|savez|savetxt({inside})", ": checkpoint best by error, in a phase",
         "a run saves its parameters at its end by itself"),
    )
)  # fmt: skip
LAST = (
    Idiom("^{x}.{method}({inside}){blank}", "", EFFECT, "E113"),
    Idiom("^{g}({inside}){calls}{blank}", _stacked, STACKED, "E113"),
    Idiom("^{g}({inside}){blank}", _given_out, phrases.GIVEN, "E113"),
    Idiom("^{g}({inside}){blank}", _effect, EFFECT, "E113"),
)
ROWS = (*slips.ROWS, *guesses.ROWS, *heads.ROWS, *notation.ROWS, *OWN, *phrases.ROWS, *LAST)
CLAUSES = tuple(
    row
    for row in ROWS
    if row.code == "E114" and row.form[0] != "^" and not str(row.here).startswith(":")
)
