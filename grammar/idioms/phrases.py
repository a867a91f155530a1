"""Phases, sweeps, checks, tasks and numbers as other tools write them, and what is written here."""

from __future__ import annotations

import re

from dln.grammar.idioms.forms import Idiom
from dln.grammar.idioms.names import arguments

Holes = dict[str, str]


def _without(h: Holes) -> str:
    """A function with the defaults of its arguments put in, where no call gives them."""
    found = [a.partition("=") for a in arguments(h["defaults"])]
    needed = [name.strip() for name, equal, _ in found if not equal]
    calls = re.findall(rf"(?<!fn )\b{h['f']}\(([^()]*)\)", h["source"])
    if any(len(arguments(c)) > len(needed) or "=" in c for c in calls):
        return ": " + f"{h['f']}({', '.join([*needed, *(v.strip() for _, e, v in found if e)])})"
    body = h["rest"]
    for name, equal, value in found:
        put = value.strip() if re.fullmatch(r"\s*[\w.]+\s*", value) else f"({value.strip()})"
        body = re.sub(rf"(?<![.\w]){name.strip()}\b", put, body) if equal else body
    return f"fn {h['f']}({', '.join(needed)}) = {body}"


def _patient(h: Holes) -> str:
    """`patience 5` of the value that a phase is to end by."""
    cond = h["cond"].strip()
    watch = (re.match(r"-?\w*", cond) or [""])[0]
    waits = f"until {watch} stalls for {h['k']} epochs"
    return waits if watch == cond else f"until {cond}\n{waits}"


def _varied(h: Holes) -> str | None:
    """`grid rate in [0.1, 0.2]`, in a sweep."""
    return f"vary {h['f']} in {h['rest']}" if h["around"] == "sweep" else None


def _commented(h: Holes) -> str | None:
    """`const n = 3  // units`: words that stand for nothing, or stand side by side."""
    words, value = (re.findall(r"[A-Za-z_]\w*", text) for text in (h["tail"], _value(h)))
    if not words or KEYWORDS.intersection(words):
        return None
    once = [w for w in (*words, *value) if len(re.findall(rf"\b{w}\b", h["source"])) == 1]
    apart = re.search(r"[A-Za-z]\s+[A-Za-z]", h["tail"])
    return f"{h['lineend']}  # {h['tail']}" if apart or (once == words and not value) else None


def _value(h: Holes) -> str:
    return h["lineend"].rpartition("=")[2]


def _passed(h: Holes) -> str:
    return f"= {h['cond'].strip()} -> {h['tail']}".replace("=>", "->")


KEYWORDS = frozenset("if else for in on every over with within and or not as by".split())
VARIED = "a sweep varies a const over a list or a range"
EMITTED = "emit gives out one value, and its file stands behind to, in quotes"
GIVEN = "a task gives a value out with emit"
MINIMIZE = ": minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1)"
UNITS = "a time is for 3 epochs, or updates, steps, seconds"
REPEATED = "a step has its name first, then how often it is done"
MINIMISED = "a phase says in minimize what is made small, and with which optimiser"
SWEPT = "a sweep varies what is a const: give the option one, and vary that"
TOLERANCE = "a tolerance is written within"


def _share_of(h: Holes) -> str:
    """`within 5 %` of what is expected, as a distance."""
    share = float(h["percent"].rstrip("% ")) / 100
    return f"expect {h['l']} == {h['r']} within {share:g} * {h['r']}"


def _asked(h: Holes) -> str:
    """`until error < 0.05 on mnist_test`."""
    return f": watch error = argmax(net(x)) != label on {h['tail'].strip()} every 1 epoch"


def _measured(h: Holes) -> str:
    """`watch accuracy on mnist_test`."""
    data = re.split(r"\s+every\b", h["tail"])[0].strip()
    sign = "==" if h["f"].startswith(("acc", "right")) else "!="
    return f": watch {h['f']} = argmax(net(x)) {sign} label on {data} every 1 epoch"


def _found(h: Holes) -> str:
    """`argmax_k z[k]`, or `argmax_k z_k`."""
    return re.sub(r"_(\w+)[ \t]+(.*?)(?:\[\1\]|_\1)$", r"(\2)", h["argmaxed"])


def _watched(h: Holes) -> str:
    on = re.search(r"(?!on\b)\b[A-Za-z_]\w*(?:\.\w+)?", h["tail"])
    data = on[0] if on else "mnist.valid"
    return f": watch error = argmax(net(x)) != label on {data} every 1 epoch"


EQUAL = "equal is written =="


def _factors(h: Holes) -> str:
    """`x[2i + u, 2j + v]`."""
    inside = re.sub(r"(?<![\w.])(\d+)([a-z])", r"\1*\2", h["factored"])
    return f"[{inside}]"


ROWS = tuple(
    Idiom(form, here, says, code)
    for code, form, here, says in (
        # -- phases
        ("E115", "^{heads} {cond} ({blank}", "{heads} {cond} {", "a body stands in braces"),
        ("E114", "^train {lrest} for {unit} {", lambda h:
         f": train {h['lrest'].strip()} for 10 {h['unit']} {{", "a time is a number and its unit"),
        ("E114", "^until {cond} on {tail}", _asked,
         "what is measured on other data is a watch, which until asks by its name"),
        ("E114", "^minimize {f}: {rest}", "minimize {rest}",
         "what is made small stands behind minimize, without a name"),
        ("E114", "^watch {f} on {tail}", _measured,
         "a watched value is an equation: its name, = and what it is"),
        ("E114", "{argmaxed}", _found, "the place of the largest entry is argmax(z)"),
        ("E114", "^until {number} {unit}", ": for {number} {unit}, in the line of train", UNITS),
        ("E114", "^until {cond} patience {k}", _patient,
         "a phase waits for a watch with stalls: until error stalls for 5 epochs"),
        ("E114", "device|cuda|gpu|cpu {clause}", ": dln run --backend cupy SPEC",
         "where it runs is said by the command"),
        ("E114", "metrics|metric|validation_data|verbose|callbacks {clause}",
         ": watch error = argmax(z) != label on mnist_test every 1 epoch",
         "what is measured is an equation of a watch"),
        ("E114", "^train {lrest} {validated} {tail}",
         _watched, "what is measured on other data is a watch"),
        ("E114", "validation_split|val_split {clause}",
         ": split fit 50000, valid 10000, in data, and train ... on mnist.fit",
         "the parts of data are said where it is declared"),
        ("E114", "except|without|excluding {atom}", "- {atom}",
         "a part is left out of its set with a minus, and put to another with a plus"),
        ("E114", "stratified|stratify {clause}", ": split fit 0.8, valid 0.2 shuffled by label",
         "examples are divided by the field that holds their class"),
        ("E114", "^split folds|fold|cv = {k}", "split fold[{k}]",
         "folds are parts with numbers: d.fold[0], d.fold[1]"),
        ("E114", "max_iter|iterations|iters|num_steps|max_steps|niter|steps_per_epoch {clause}",
         ": for 1000 updates, in place of epochs", UNITS),
        ("E114", "{bare} batch|batches|examples|samples", "batch {bare}",
         "examples of one update are batch 100"),
        ("E114", "^step {k} times {f} {rest}", "step {f} {k} times {rest}", REPEATED),
        ("E114", "{unit} = {k}", "for {k} {unit}", UNITS),
        ("E114", "{unit} {k}", "for {k} {unit}", UNITS),
        ("E114", "{bare} {unit}", "for {bare} {unit}", UNITS),
        ("E114", "batch_size|batchsize|minibatch|batches = {number}", "batch {number}",
         "examples of one update are batch 100"),
        ("E114", "batch_size|batchsize|minibatch|batches {number}", "batch {number}",
         "examples of one update are batch 100"),
        ("E114", "batch = {number}", "batch {number}", "examples of one update are batch 100"),
        ("E114", "^train {cond} lr|learning_rate|optimizer|loss {tail}", MINIMIZE, MINIMISED),
        ("E114", "^train {cond} shuffle {clause} {tail}", "train {cond} {tail}",
         "the order is another in each epoch by itself; order says another"),
        ("E114", "every {unit}", lambda h: f"every 1 {h['unit']}" if h["unit"][-1] != "s" else
         f": every 10 {h['unit']}", "every has a number: every 1 epoch"),
        ("E114", "each|per {k} {unit}", "every {k} {unit}", "a watch is reported every 1 epoch"),
        ("E114", "each|per {unit}", "every 1 {unit}", "a watch is reported every 1 epoch"),
        ("E114", "seed = {number}", "seed {number}", "clauses have no ="),
        ("E114", "dtype lib.{f}", "dtype {f}", "a precision is float32 or float64"),
        ("E114", "^stop|end|finish|exit when|if {rest}", "until {rest}", "a phase ends by until"),
        ("E113", "^fprintf|printf|disp|println|puts|echo({inside})", ": emit params(net)", GIVEN),
        # -- sweeps
        ("E114", "^vary {f} = [{inside}]", "vary {f} in [{inside}]", VARIED),
        ("E114", "^vary {f} = {listed}", "vary {f} in [{listed}]", VARIED),
        ("E114", "^grid|sweep|range|choose|over {f} in {rest}", _varied, VARIED),
        ("E114", "^for {f} in {rest}",
         lambda h: f": vary {h['f']} in [0.1, 0.2]" if h["around"] == "sweep" else None, VARIED),
        # -- tasks and checks
        ("E111", "^emit {closed}, {rest}", "emit {closed}\nemit {rest}", EMITTED),
        ("E114", '^emit {cond} as|into|in "{text}"', 'emit {cond} to "{text}"', EMITTED),
        ("E114", "^emit {cond} to|as|into {file}", 'emit {cond} to "{file}"', EMITTED),
        ("E113", "^~plot|plt({inside})", "emit plot({inside})", GIVEN),
        ("E113", "^~imshow|matshow|hist|scatter|show|savefig|figure|heatmap|imsave({inside})",
         ': emit tiles(net.h.W, 28, 28) to "w.png"', GIVEN),
        ("E112", "^expect {cond} {about} {c}", ": expect {cond} == {c} within 0.01", TOLERANCE),
        ("E108", "^batch|shuffle|order {tail}", lambda h:
         ": train fit on d batch 100 for 1 epoch {" if h["around"] == "data" else None,
         "how examples are taken is said by the phase that reads them"),
        ("E114", "^vary {f}.{g} in {rest}", ": const {g} = ..., and vary {g} in {rest}", SWEPT),
        ("E114", "^vary {q} in {listed}", "vary {q} in [{listed}]",
         "what is varied stands in a list or a range"),
        ("E111", "{f}({k},)", "{f}({k})", "no comma stands at the end of a call"),
        ("E113", "shape({x}) == ({k},)", "shape({x}) == [{k}]", "sizes are a list, in [ ]"),
        ("E113", "({k},)", "{k}", "there are no tuples: one size is a number"),
        ("E113", "{tuple}", lambda h: f"[{h['tuple'].strip()[1:-1]}]",
         "there are no tuples: several values are a list, in [ ]"),
        # -- functions and numbers
        ("E117", "^fn {f}({defaults}) = {rest}", _without,
         "arguments of a function have no defaults: give them at each call"),
        ("E119", "[{factored}]", _factors, "a product needs its *"),
        ("E119", "{grouped}", lambda h: h["grouped"].replace("_", ""), "a number has no _ in it"),
        ("E119", "{suffixed}", lambda h: h["suffixed"][:-1], "a number has no letters behind it"),
        ("E119", "{hexadecimal}", lambda h: str(int(h["hexadecimal"], 16)), "numbers are decimal"),
        ("E112", "^expect {l} == {r} within {percent}", _share_of,
         "a tolerance is a distance, not a share"),
        ("E112", "{percent}", lambda h: f"{float(h['percent'].rstrip('% ')) / 100:g}",
         "shares are written as numbers from 0 to 1"),
        ("E112", "^expect {cond} +- {c}", "expect {cond} within {c}", TOLERANCE),
        ("E112", "^expect {cond} +/- {c}", "expect {cond} within {c}", TOLERANCE),
        ("E114", "^expect {cond} by|tolerance|tol|atol|approx {c}", "expect {cond} within {c}",
         TOLERANCE),
        ("E114", "^expect {equal}, {number}{blank}", "expect {equal} within {number}", TOLERANCE),
        ("E112", "+-", "-", "a tolerance is written within, a difference with -"),
        ("E112", "^{lineend} {commenting} {tail}", _commented, "comments start with #"),
        ("E112", "{l} % {r}", "{l} - {r} * floor({l} / {r})", "a remainder is written with floor"),
        ("E112", "{l} {whole} {r}{tail}", "floor({l} / {r}){tail}",
         "a whole quotient is floor(a / b)"),
        ("E112", "|>", "->", "a value is passed on with ->"),
        ("E112", "= {cond} => {tail}", _passed, "a value is passed on with ->"),
        ("E112", ">>", "->", "a value is passed on with ->"),
        ("E112", "||{q}||", "norm({q})", "the length of a vector is norm(x)"),
        ("E112", "|{q}|", "abs({q})", "the size of a number is abs(x)"),
        ("E112", "{l} is not {r}", "{l} != {r}", "unequal is written !="),
        ("E112", "{l} is {r}", "{l} == {r}", EQUAL),
        ("E118", "{l} {cmp} {r} {less} {atom}", "{l} {cmp} {r} and {r} {less} {atom}",
         "a comparison joins two values: two of them are joined by and"),
        ("E114", "if {q} then {r} else {atom}", "{r} if {q} else {atom}",
         "a choice is written value first: a if test else b"),
        ("E114", "elif", ": y = a if x > 0 else b if x < 0 else c",
         "a choice of more is a choice in the place of the last value"),
        ("E119", "^const {f} = {thousands}",
         lambda h: f"const {h['f']} = {h['thousands'].replace(',', '')}",
         "a number has no commas in it"),
        ("E112", "{l} .* {r}", "{l} * {r}", "* is element by element"),
        ("E112", "{l} ./ {r}", "{l} / {r}", "/ is element by element"),
        ("E112", "{l} {dotpow} {r}", "{l}^{r}", "^ is element by element"),
        ("E112", "{l} %*% {r}", "{l} @ {r}", "a product of matrices and vectors is written @"),
        ("E112", "^{head} => {tail}", "{head} -> {tail}", "the result ports stand after ->"),
        ("E114", "{q} ? {r} : {l}", "{r} if {q} else {l}", "a choice is written a if test else b"),
        ("E112", "{x}[::-1]", ": y[i] = x[n - 1 - i], where x has n elements",
         "a tensor is turned round by an equation with an index"),
        ("E112", "{x}[{slice}]", ": y[i] = x[2*i], with the step in the index",
         "a slice has no step: an index may have one"),
        ("E119", "{fn} {l}", lambda h: None if h["l"].startswith(h["fn"]) else
         f"{h['fn']}({h['l']})", "what a function is given stands in brackets"),
        ("E119", "(batch {f}: {inside})", "({f} in batch: {inside})",
         "another example of the minibatch is an index in batch"),
        ("E119", "scan {f} in time reversed|reverse|backward|downwards {",
         "scan {f} in time backwards {", "from the end of each sequence a scan runs backwards"),
        ("E100", "clip = {number}", "clip {number}", "clip stands behind the optimiser"),
        ("E119", "-> {f} {number}", "-> {f}({number})",
         "what a block is given stands in brackets"),
        ("E119", "dense|conv|lstm|gru|rnn {number}", ": dense({number})",
         "what a block is given stands in brackets"),
    )
)  # fmt: skip
