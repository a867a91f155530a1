"""The table of mistakes: what people write, and what to tell them.

A row is found in one of three ways. By the first word of the statement (`starts`), by the text of
the refused token (`mark`), or by the parser's state and the kind of that token, taken from parsing
the row's wrong examples, as Lark's `match_examples` does. `swap` is what should stand in place of
the refused token; the remedy then shows the line so changed. {found} is the refused token.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True, slots=True)
class Mistake:
    code: str
    message: str
    remedy: str
    examples: tuple[str, ...]
    starts: tuple[str, ...] = ()
    mark: tuple[str, ...] = ()
    after: str = ""  # the text of the token before the refused one
    swap: str | None = None


def _head(*clauses: str) -> tuple[str, ...]:
    return tuple(f"train t on d.all {clause} {{\n  y = x\n}}\n" for clause in clauses)


def _inside(head: str, *lines: str) -> tuple[str, ...]:
    return tuple(f"{head} {{\n  {line}\n}}\n" for line in lines)


_block = partial(_inside, "block b(x[n]) -> y[n]")
_train = partial(_inside, "train t on d.all for 1 epoch")


# What a word from another language means here, by the first word of the statement.
STATEMENTS = (
    Mistake("E113", "functions are defined with fn, by one expression",
            "fn f(a) = a + 1, or block f(x[n]) -> y[n] { ... } where it has parameters",
            ("def f(x):\n", "function f(x) {\n}\n", "func f(x)\n"),
            starts=("def", "function", "func")),
    Mistake("E113", "a block returns the ports of its header: nothing is returned by a statement",
            "block f(x[n]) -> y[n] { ... }, with an equation y = ... inside",
            _block("return x"), starts=("return",)),
    Mistake("E113", "classes of layers are blocks", "block layer(x[n]; m) -> y[m] { ... }",
            ("class Net(Module):\n", "module net(x) {\n}\n", "layer dense(x) {\n}\n"),
            starts=("class", "module", "layer")),
    Mistake("E113", "there is no while: scan runs along a sequence, for unrolls over a range",
            "scan t in time { ... }", _block("while x > 0 {\n  }"), starts=("while",)),
    Mistake("E113", "if is part of an expression, not a statement", "y = a if x > 0 else b",
            _block("if x > 0 {\n  }", "if x > 0:", "elif x > 0:", "else {\n  }"),
            starts=("if", "elif", "else")),
    Mistake("E113", "a value is reported by watch, emit or report", "watch y = x every 1 epoch",
            _train("print y", "print(y), x"), starts=("print",)),
    Mistake("E113", "a requirement is written with expect", "expect a == b within 1e-6",
            _inside('check "c"', "assert a == b"), starts=("assert",)),
)  # fmt: skip

# Marks that mean something elsewhere, wherever they stand.
MARKS = (
    Mistake("E112", "a power is written ^", "", _block("y = x ** 2"), mark=("**",), swap="^"),
    Mistake("E112", "this is written with the word and", "", _block("y = a && b", "y = a & b"),
            mark=("&&", "&"), swap=" and "),
    Mistake("E112", "this is written with the word or", "", _block("y = a || b", "y = a | b"),
            mark=("||", "|"), swap=" or "),
    Mistake("E112", "this is written with the word not", "", _block("y = !a"), mark=("!",),
            swap="not "),
    Mistake("E111", "no \\ is needed to continue a line",
            "break the line inside ( ) or [ ], or before -> or with",
            _block("y = x + \\\n    1"), mark=("\\",)),
    Mistake("E111", "a statement ends with its line, without a semicolon", "",
            ("const n = 3;\n", *_block("y = x;", "param W = 0;")), mark=(";",), swap=""),
    Mistake("E118", "a range is written with two dots", "0..9", ("const r = 0...9\n",),
            mark=("...",), swap=".."),
    Mistake("E105", "a text stands in double quotes", "", ("let x = 'abc'\n",), mark=("'",)),
    Mistake("E110", "=> is no mark of the language", "y = x defines, x -> f passes x on to f",
            _block("y => x"), mark=("=>",)),
)  # fmt: skip

# By the parser's state, found with the examples.
STATES = (
    # -- the sign of a definition
    Mistake("E110", "a definition has one =", "", _block("y == x + 1", "y[i] == x[i]",
            "y: prob == x"), mark=("==",), swap="="),
    Mistake("E110", "a name is bound with =", "",
            ("const n := 3\n", "let n := 3\n", *_inside("sweep s", "vary n := 1..3")),
            mark=(":=",), swap="="),
    Mistake("E110", "an equation has =; only optimisers and start use :=", "",
            _block("y := x", "y[t] := x[t]"), mark=(":=",), swap="="),
    Mistake("E110", "an equation has =; parameters change by update, or by minimize",
            "h2 = h + 1: a value does not change, another has a name of its own",
            _block("y += x", "y: real += x"), mark=("+=",)),
    Mistake("E110", "the name and its value need a = between them", "",
            ("const n 3\n", "let net mlp()\n", *_block("y x + 1", "y 3", "y[i] x[i]")),
            swap="= {found}"),
    Mistake("E110", "a data set is defined with =", "", ('data d idx("a")\n',), swap="= {found}"),
    Mistake("E110", "a function is defined with =", "", ("fn f(a) a + 1\n",
            "fn f(a) -> prob a + 1\n"), swap="= {found}"),
    Mistake("E110", "a function is one expression, after =", "fn f(a) = a + 1",
            ("fn f(a) {\n}\n", "fn f(a) -> prob {\n}\n", "fn f(a):\n")),
    Mistake("E110", "a value is defined with =, drawn with ~", "",
            _block("y <= x", "y > x")),
    Mistake("E110", "update adds: it is written +=", "update p.w += eta * x",
            _train("update p.w = x", "update p.w := x", "update p.w\n")),
    Mistake("E110", "start copies: it is written :=", "start up.W := R.W'",
            _train("start a = b", "start a += b", "start a\n")),
    Mistake("E110", "requirements compare with ==", "",
            _inside('check "c"', "expect a = b"), mark=("=",), swap="=="),
    Mistake("E110", "an option is set with =, as in dense(10, act = tanh)", "",
            _block("y = f(a := 1)", "y = f(c, b := 2)"), mark=(":=",), swap="="),
    Mistake("E110", "energy is defined with =", "energy = -(v @ W @ h)",
            _block("energy(v) = 1", "energy x", "energy\n")),
    # -- ends of lines and of lists
    Mistake("E111", "the list goes on after a comma: another one is missing here", "",
            ("const n = 3,\n", *_block("param W = 0,", "hidden h[m],", "fixed D = 1,"))),
    Mistake("E111", "nothing stands after the last comma", "",
            _block("y = f(a,)", "y = [a,]", "y = f(a; b,)", "y = x[1,]", "y = f(a, b,)",
                   "y = [a, b,]", "y = x[1, 2,]")),
    Mistake("E111", "one of several values is missing before this comma", "",
            _block("y = f(,a)", "y = [a,,b]")),
    # -- braces
    Mistake("E115", "the body stands in braces, not after a colon", "",
            ("block b(x):\n  y = x\n", "block b(x) -> y: real:\n  y = x\n",
             "sweep s:\n", 'check "c":\n', "task t():\n", *_head("for 3 epochs:"),
             *_block("scan t in time:", "for i in 0..3:"),
             *_train("step s:")),
            mark=(":",), swap=" {"),
    Mistake("E115", "the body of this is missing: it stands in braces", "end the line with {",
            ("block b(x)\n  y = x\n", "block b(x) -> y:\n  y = x\n", "block b(x) -> y\n",
             "sweep s\n", 'check "c"\n', "task t()\n", "train t on d for 3 epochs\n",
             "optimiser o(p, g; lr)\n",
             *_block("scan t in time\n", "for i in 0..3\n"), *_train("step s\n"))),
    # -- what a statement needs
    Mistake("E114", "minimize needs the parameters it changes and an optimiser",
            "minimize loss over net with sgd(lr = 0.1)", _train("minimize x\n",
            "minimize total x\n", "minimize sum(x)\n")),
    Mistake("E114", "minimize needs an optimiser: with ...",
            "minimize loss over net with sgd(lr = 0.1)",
            _train("minimize x over net\n", "minimize x over a, b\n")),
    Mistake("E114", "minimize says which parameters it changes: over ...",
            "minimize loss over net with sgd(lr = 0.1)", _train("minimize x with f",
            "minimize sum(x) with f", "minimize x, y over net with f")),
    Mistake("E114", "a time needs its unit", "for 20 epochs, or updates, steps, seconds",
            _head("for 20", "for 20 batch 3", "for n", "for 20 hours")),
    Mistake("E114", "every needs its unit", "every 1 epoch, or updates, steps, seconds",
            _train("watch e = x every 3\n", "checkpoint every 3\n", "watch e = x every 3 batches")),
    Mistake("E114", "a watched value needs a name", "watch error = argmax(y) != label",
            _train("watch\n", "watch argmax(y) != label", "watch 3", "watch = x",
                   "watch norm(x) every 1 epoch", "watch error\n")),
    Mistake("E114", "checkpoint needs a time or a value", "checkpoint best by error",
            _train("checkpoint\n", "checkpoint best\n", "checkpoint 3", "checkpoint error",
                   "checkpoint best error")),
    Mistake("E114", "keep says what is best", "keep best by error",
            _train("keep\n", "keep best\n", "keep error", "keep best error", "keep 3")),
    Mistake("E114", "until ... stalls says for how long", "until error stalls for 5 epochs",
            _train("until e stalls\n", "until e stalls 5", "until e stalls for 5",
                   "until e stalls for 5 by 1")),
    Mistake("E114", "a state of a phase needs a first value: = or ~",
            "state chain[784] ~ bernoulli(0.5)", _train("state chain[784]\n", "state chain\n",
            "state chain[784]: binary\n", "state chain := 0", "state chain[3] := 0", "state\n",
            "state chain, more\n")),
    Mistake("E114", "a state of an optimiser is as large as its parameter: no sizes are said",
            "state v = 0", _inside("optimiser o(p, g; lr)", "state v[n] = 0", "state v[3, 4] = 0",
                                   "state v = 0, w[n] = 0"), mark=("[",)),
    Mistake("E114", "what stands behind after is a phase, by its name alone", "after first",
            _head("after first.error", "after first.net batch 3"), mark=(".",)),
    Mistake("E114", "train needs a name and its data", "train fit on mnist.fit for 30 epochs {",
            ("train {\n}\n", "train on d for 1 epoch {\n}\n", "train t {\n}\n",
             "train t for 1 epoch {\n}\n", "train t = d {\n}\n")),
    Mistake("E114",
            "the clauses of train are batch, for, stream, order, dtype, seed, shards and after",
            "train fit on mnist.fit batch 100 for 30 epochs {",
            _head("for = 3 epochs")),
    Mistake("E114", "a parameter needs a first value: = or ~", "param W[m, n] ~ glorot(n, m)",
            _block("param W\n", "param W[m, n]\n", "param W, b = 0", "param W[m] 0", "fixed D\n")),
    Mistake("E114", "a hidden group is only named; its values come from energy",
            "hidden h[m]: binary", _block("hidden h = 3", "hidden h[m] ~ 0")),
    Mistake("E114", "use needs a file name in quotes", 'use "mnist.dln"',
            ("use mnist\n", "use\n", "use mnist.dln\n")),
    Mistake("E114", "check needs a text in quotes that says what holds",
            'check "the sizes of the paper" {', ("check {\n}\n", "check sizes {\n}\n")),
    Mistake("E114", "the range is given with in", "for l in 0..2, or vary hidden in [100, 300]",
            (*_block("for i = 0..3 {\n  }", "for i {\n  }", "for 3 {\n  }", "scan t = 1..3 {\n  }",
                     "scan t 3 {\n  }"),
             *_inside("sweep s", "vary x = r", "vary x 1..3", "vary x\n"),
             "for i = 0..3 {\n}\n")),
    Mistake("E114", "a part of a split has a name and a size", "split fit 50000, valid 10000",
            _inside('data d = idx("a")', "split fit = 5", "split fit 5 valid", "split 0.9",
                    "split fit, valid", "split\n")),
    Mistake("E114", "a setting is written with =", "set window = 50",
            _inside('data d = idx("a")', "set window 50", "set window: 50", "set window\n")),
    Mistake("E114", "an expression is missing after the =", "",
            ("const n =\n", "let n =\n", *_block("y =\n", "param W =\n", "y ~\n", "energy =\n"))),
    Mistake("E114", "the right-hand side of this operation is missing", "",
            _block("y = x +\n", "y = x *\n", "y = x @\n", "y = x ^\n", "y = -\n", "y = x ->\n",
                   "y = x ==\n", "y = x and\n", "y = not\n", "y = x /\n", "y = x or\n",
                   "y = x -\n")),
    Mistake("E114", "a choice has both sides: a if test else b", "y = a if x > 0 else b",
            _block("y = a if x\n", "y = f(a if x)", "y = a if\n")),
    Mistake("E114", "a choice is written value first: a if test else b", "y = a if x > 0 else b",
            _block("y = if x then a else b", "y = f(if x)", "y = if x > 0 { 1 }")),
    Mistake("E114", "a task has its options in ( ), even when there are none",
            "task sample(n = 10) {", ("task t {\n}\n", "task t\n")),
    Mistake("E114", "a block has its ports in ( )", "block net(x[n]) -> y[m] {",
            ("block b\n", "block b x {\n}\n", "block b = f\n")),
    Mistake("E114", "an optimiser names its value and gradient, then its options after ;",
            "optimiser sgd(p, g; lr) {", ("optimiser o {\n}\n", "optimiser o(p, g) {\n}\n",
            "optimiser o() {\n}\n", "optimiser o(p, g, lr = 1) {\n}\n")),
    Mistake("E114", "states and steps of an optimiser are names: v := ...",
            "p := p - lr * g", _inside("optimiser o(p, g; lr)", "p 3")),
    # -- arrows, ports, ranges, numbers
    Mistake("E116", "an arrow in a block's header is followed by its result ports",
            "block net(x[n]) -> y[m] {", ("block b(x) -> {\n}\n", "block b(x) -> 3 {\n}\n")),
    Mistake("E116", "the result ports stand after ->", "block net(x[n]) -> y[m] {",
            ("block b(x) y {\n}\n", "block b(x) = y {\n}\n")),
    Mistake("E116", "a definition has its name on the left: name = value -> block", "h = x -> f",
            _block("x -> f", "-> f")),
    Mistake("E117", "options, which have default values, stand after a semicolon",
            "block net(x[n]; m = 10) -> y[m] {", ("block b(x, m = 3) {\n}\n",
            "block b(m = 3) {\n}\n")),
    Mistake("E117", "dimensions stand in [ ], domains after a colon", "x[n]: prob",
            ("block b(x(n)) {\n}\n", "block b(x n) {\n}\n", "block b(x[n]) -> y(n) {\n}\n")),
    Mistake("E119", "a number starts with a digit: write 0.5, not .5", "",
            ("const n = .5\n", *_block("y = x + .5", "y = f(.5)", "y = x * .5", "y = [.5]",
                                       "y = x == .5", "y = [1, .5]", "y = f(a, .5)", "y = -.5",
                                       "y = f(a = .5)", "y = x @ .5", "y = (.5)", "y ~ .5"),
             *_inside('check "c"', "expect a == b within .5"),
             *_train("minimize .5 * x over y with z")), mark=(".",)),
    Mistake("E119", "a number has digits after its point: write 5.0 or 5", "",
            ("const n = 5.\n", *_block("y = 5. + x", "y = f(5.)")), after="."),
    Mistake("E108", "an equation stands inside a block, a phase, a task or a check",
            "at the top of a file, values are named with let or const",
            ("y = x\n", "const a = 1\ny = x\n", "dln 1\ny = x\n", "x -> f\n", "y[i] = x\n")),
)  # fmt: skip

# Where no row fits.
RUN_ON = Mistake("E111", "one statement stands on a line", "start a new line before {found}",
        ("const a = 1 const b = 2\n", *_block("param a = 1 param b = 2")))  # fmt: skip
TRAILING = Mistake("E111", "no comma stands at the end of a line", "",
        ("let n = 3,\n", *_train("minimize x over y with z,", "until x,"),
         *_block("y = x,", "y ~ x,", "scan t in 3,")), swap="")  # fmt: skip
CHAIN = Mistake("E118", "a range or comparison joins two values: bracket one of them", "",
        ("let a = 1..2..3\n", *_block("y = 1..2..3", "y = a == b == c")))  # fmt: skip
PRODUCT = Mistake("E119", "a product needs its *", "",
        ("const n = 2x\n", *_block("y = 2 x", "y = 2pi")), swap=" * {found}")  # fmt: skip
SIDE_BY_SIDE = Mistake("E119",
        "two values stand side by side: a mark or a comma is missing between them",
        "W @ x is a product of matrix and vector, a * b one of numbers; f(x) and x -> f apply f",
        _block("y = f(a b)", "y = [a b]", "y = [1 2]", "y = x y", "y = (a b)",
               "y = f(a.c 1)"))  # fmt: skip

MISTAKES = (*STATEMENTS, *MARKS, *STATES, RUN_ON, TRAILING, CHAIN, PRODUCT, SIDE_BY_SIDE)


# ---- where statements belong, and how they are written ----------------------------------------

# Where a statement belongs, for one that stands elsewhere.
HOMES = {
    "block": "param fixed hidden energy",
    "train": "minimize update start step watch checkpoint keep until state",
    "data": "split set",
    "sweep": "vary report",
    "task": "emit",
    "optimiser": "state",
}

# Other spellings of the words that statements begin with.
SPELLED = {"minimise": "minimize", "optimizer": "optimiser"}

# What is meant by a statement of another body.
MEANT = {
    ("const", "block"): "let", ("const", "train"): "let", ("const", "task"): "let",
    ("const", "check"): "let", ("param", "data"): "", ("param", "optimiser"): "state",
}  # fmt: skip

# How the line of such an item is written.
EXAMPLES = {
    "block": "block net(x[n]) -> y[m] {",
    "train": "train fit on mnist batch 100 for 1 epoch {",
    "data": 'data d = table("d.csv") {',
    "sweep": "sweep width {",
    "task": "task show() {",
    "optimiser": "optimiser sgd(p, g; lr) {",
}

# How statements are written.
WRITTEN = {
    **EXAMPLES,
    "watch": "watch error = argmax(y) != label on mnist_test every 1 epoch",
    "minimize": "minimize cross_entropy(y, label) over net with sgd(lr = 0.1)",
    "emit": 'emit tiles(net.h.W, 28, 28) to "w.png"',
    "expect": "expect fit.error == 0.05 within 0.01",
    "param": "param W[m, n] ~ glorot(n, m), b[m] = 0",
    "vary": "vary hidden in [100, 300]",
    "report": "report fit.error, fit.seconds",
    "check": 'check "the sizes of the paper" {',
    "use": 'use "mnist.dln" as M',
    "scan": "scan t in time {",
    "for": "for k in 0..2 {",
    "state": "state v = 0",
    "checkpoint": "checkpoint best by error",
    "keep": "keep best by error",
    "until": "until error stalls for 5 epochs",
    "split": "split fit 50000, valid 10000",
    "hidden": "hidden h[m]: binary",
    "update": "update net.W += 0.1 * g",
    "start": "start up.W := R.W'",
    "fn": "fn square(a) = a^2",
    "let": "let net = mlp()",
    "const": "const hidden = 100, rate = 0.1",
    "fixed": "fixed c[m] = 0",
    "energy": "energy = -(v @ W @ h)",
    "set": "set window = 50",
    "step": "step first 2 times {",
    "dln": "dln 1",
    "": "y = tanh(W @ x + b)",  # an equation
}

# How statements go on behind a value.
CLAUSES = {
    "train": "batch for stream order dtype seed shards after",
    "minimize": "over with",
    "watch": "on every",
    "expect": "within",
    "emit": "to",
    "state": "every",
    "param": "where",
    "fixed": "where",
    "data": "like",
    "use": "as",
    "vary": "in",
}

# Kinds of tokens where one is expected: beginnings of values, operators, and others in words.
VALUES = {"NUMBER", "STRING", "LONG_STRING", "NAME", "UNIT", "LPAR", "LSQB", "MINUS", "NOT"}
OPERATORS = {
    "PLUS", "MINUS", "STAR", "SLASH", "AT", "CIRCUMFLEX", "CMP", "OR", "AND", "IF", "AS", "RANGE",
    "DOT", "QUOTE", "ARROW", "LPAR", "LSQB",
}  # fmt: skip
SPOKEN = {
    "NAME": "a name", "NUMBER": "a number", "STRING": "a text in quotes", "CMP": "a comparison",
    "UNIT": "a unit (epochs, updates, steps or seconds)", "LONG_STRING": "a text in quotes",
    "_NL": "the end of the line", "$END": "the end of the file",
}  # fmt: skip
