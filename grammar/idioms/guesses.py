"""Lines as somebody writes them who has not seen the language: what a name of a section, a key with
its value or a verb of another kind is meant to be, by the item that it stands in."""

from __future__ import annotations

import re
from collections.abc import Callable

from dln.grammar.idioms.forms import Idiom, filled
from dln.grammar.idioms.names import OPTIONS, arguments

Holes = dict[str, str]
MINIMIZE = "minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1)"


def _within(
    around: str, here: str | Callable[[Holes], str | None]
) -> Callable[[Holes], str | None]:
    """What is put in place in items of one kind alone; "" is the top of a file."""

    def put(h: Holes) -> str | None:
        if h["around"] != around:
            return None
        return here(h) if callable(here) else here if here[0] == ":" else filled(here, h)

    return put


def _minimised(h: Holes) -> str:
    """`loss: cross_entropy(net(x), label)`, over what is applied in it."""
    said = h["rest"].strip()
    nets = [n for n in re.findall(r"\b([A-Za-z]\w*)\(", said) if f"let {n} " in h["source"]]
    if nets and re.search(r"\w\(.*\)", said):
        return f": minimize {said} over {nets[0]} with sgd(lr = 0.1)"
    return f": {MINIMIZE}"


def _clause(form: str) -> Callable[[Holes], str]:
    """`epochs: 10`, as a clause of the line of train."""
    return lambda h: f": train fit on d {form.format(h['number'])} {{"


def _moved(h: Holes) -> str | None:
    """`net.W = net.W - 0.1 * g`, in a phase."""
    target, rest = h["dotted"], h["rest"].strip()
    added = re.fullmatch(rf"{re.escape(target)}\s*([-+])\s*(.+)", rest)
    if added is None:
        return f": update {target} += ..., or start {target} := ... when the phase begins"
    sign, value = added.groups()
    whole = re.fullmatch(r"[\w.]+(?:\s*[*/@^]\s*[\w.()]+)*", value)
    return f"update {target} += {value if sign == '+' else f'-{value}' if whole else f'-({value})'}"


def _learnt(h: Holes) -> str | None:
    """`W = param(10, 784)`, or `W: param[10, 784]`."""
    sizes = ", ".join(a.strip() for a in arguments(h["inside"]))
    first = "glorot(n, m)" if "," in sizes else "0"
    return f": param {h['f']}[{sizes}] {'~' if ',' in sizes else '='} {first}"


def _read(h: Holes) -> str:
    """`dataset d from "points.csv"`, by the reader of such files."""
    file = h.get("text") or "points.csv"
    reader = {"npz": "npz", "txt": "text"}.get(file.rpartition(".")[2], "table")
    reader = "idx" if "idx" in file or "ubyte" in file else reader
    return f': data {h.get("f") or "d"} = {reader}("{file}") {{'


def _drawn(h: Holes) -> str | None:
    """`param W[10, 784] init glorot`."""
    sizes = [n.strip() for n in arguments(h["inside"])]
    first = (re.findall(r"[A-Za-z_]\w*", f"{h['joins']} {h['tail']}") or [""])[-1].casefold()
    name = re.sub(r"_?(uniform|normal)$", "", first).replace("xavier", "glorot")
    if "zero" in first or len(sizes) != 2:
        return f"{h['declared']} {h['f']}[{', '.join(sizes)}] = {int('one' in first)}"
    name = {"kaiming": "he", "lecun": "fan_in"}.get(name, name if name in FIRST else "glorot")
    return f"{h['declared']} {h['f']}[{', '.join(sizes)}] ~ {name}({sizes[1]}, {sizes[0]})"


def _named_net(h: Holes) -> str:
    """`model net = dense(100) |> relu |> dense(10)`."""
    parts = [part.strip() for part in re.split(r"\|>|->|>>", h["rest"])]
    made = parts[0] if len(parts) == 1 else f"chain([{', '.join(parts)}])"
    return f"let {h['f']} = {made}"


def _typed(h: Holes) -> str:
    """`x: float = 3`, at the top of a file."""
    word = "const" if re.fullmatch(r"[\d.e-]+|\[[\d., -]*\]|\"[^\"]*\"", h["rest"]) else "let"
    return f"{word} {h['f']} = {h['rest']}"


def _rounds(h: Holes) -> str:
    """`repeat 3 {`."""
    return f": chain([for k in 1..{h['k']}: dense(100)]) of layers, else for k in 1..{h['k']} {{"


def _braced(h: Holes) -> str:
    """`... with adam { lr: 0.001 }`."""
    given = re.findall(r"(\w+)\s*[:=]\s*([^,;\s}]+)", h["braces"])
    said = ", ".join(f"{OPTIONS.get(k, k)} = {v}" for k, v in given)
    return f"minimize {h['lrest']} with {h['f'].casefold()}({said})"


def _layered(h: Holes) -> str:
    """`x = layers.Dense(64)(inputs)`, at the top of a file."""
    size = re.search(r"\d+", h["inside"])
    return f": {h['f']} = {h['c']} -> dense({size[0] if size else 64}), in a block"


def _set_apart(h: Holes) -> str | None:
    """`optimizer adam { lr = 0.001 }`, at the top of a file."""
    tail = h.get("tail") or h.get("inside", "")
    if "p, g" in tail or not re.search(r"\d", tail) or h["f"] in ("torch", "optim", "tf", "keras"):
        return None
    given = re.findall(r"(\w+)\s*[:=]\s*([\d.e-]+)", tail)
    said = ", ".join(f"{OPTIONS.get(k, k)} = {v}" for k, v in given)
    return f": minimize loss over net with {h['f'].casefold()}({said or 'lr = 0.1'})"


def _set(h: Holes) -> str | None:
    """`base_lr: 0.01`, of an optimiser, on a line of its own in a phase."""
    name = OPTIONS.get(h["f"], h["f"])
    if name not in ("lr", "momentum", "mass", "decay", "b1", "b2", "eps"):
        return None
    other = {"lr": "", "mass": "lr = 0.1, ", "momentum": "lr = 0.1, ", "decay": "lr = 0.1, "}
    name, made = (
        {"mass": "momentum"}.get(name, name),
        "adam" if name in ("b1", "b2", "eps") else "sgd",
    )
    return f": ... with {made}({other.get(name, '')}{name} = {h['number']})"


FIRST = ("glorot", "he", "fan_in", "small", "zero")
SECTION = "a net is a block, with what flows in and its results in its first line"
READ = "data come from a reader of a file, and their fields are named in braces"
FIELD = "a field of data is an equation: its name, its sizes and what it is of raw"
LOSS = "what is made small is said by minimize"
TIME = "batch and duration of a phase stand in its first line"
RATE = "a rate is an option of the optimiser"
WATCHED = "what is measured is an equation of a watch"
CHANGED = "a parameter is changed by update: no equation sets it"
CONFIG = "there are no sections of settings: what may be turned is a const"
LAYER = "a layer is an equation, named by what it gives"
NAMED = "what is made is named with let"
FIELDS = "fields stand between the braces of their data set"
DRAWN = "a first value stands behind ~, where it is drawn, or ="
PARAM = "what is learnt is a parameter, with its sizes and a first value"

PARAMETER = "param|parameter|Parameter|weight|weights"
ROWS = tuple(
    Idiom(form, _within(around, here), says, code)
    for code, around, form, here, says in (
        ("E113", "", "^network|model|net|module|architecture|nn {f} {",
         lambda h: f": block {h['f']}(x[784]) -> y[10] {{", SECTION),
        ("E113", "", "^network|model|net|module|architecture|nn {",
         ": block net(x[784]) -> y[10] {", SECTION),
        ("E113", "", "^config|hyperparameters|hyperparams|settings|options|params|parameters {",
         ": const hidden = 100", CONFIG),
        ("E113", "", '^data|dataset|datasets|source {f} {put} "{text}"{tail}', _read, READ),
        ("E113", "", '^data|dataset|datasets|source {f} from|file|in|of|path "{text}"{tail}', _read,
         READ),
        ("E113", "", "^dataset|datasets|loader {f}{tail}", _read, READ),
        ("E113", "", "^{f} = ~Dense|Linear|Conv2D|LSTM|GRU|Dropout|Flatten|MaxPooling2D|Activation"
         "|BatchNormalization({inside})({c})", _layered, SECTION),
        ("E113", "", "^{f} = ~Model|Functional({inside})", ": let net = mlp(), of a block mlp",
         SECTION),
        ("E113", "data", '^source|file|path|load|read|from|reader {sets} "{text}"', _read, READ),
        ("E113", "data", "^inputs|input|features|feature|columns|column {tail}",
         ": x[4] = raw[:4]", FIELD),
        ("E113", "data", "^targets|target|outputs|output|labels {tail}",
         ": label: class(3) = raw[4]", FIELD),
        ("E113", "data", "^normalize|normalise|scale|standardize|standardise {tail}",
         ": x[4] = (raw[:4] - 3) / 2", "what is done to a field stands in its equation"),
        ("E113", "train", "^loss|objective|criterion|cost|loss_fn {sets} {rest}", _minimised, LOSS),
        ("E113", "train", "^epochs|epoch|n_epochs|num_epochs {sets} {number}",
         _clause("batch 100 for {} epochs"), TIME),
        ("E113", "train", "^updates|steps|iterations|num_steps|max_iter {sets} {number}",
         _clause("batch 100 for {} updates"), TIME),
        ("E113", "train", "^batch|batch_size|batchsize|minibatch {sets} {number}",
         _clause("batch {} for 10 epochs"), TIME),
        ("E113", "train", "^lr|learning_rate|rate|eta|alpha {sets} {number}",
         lambda h: f": {MINIMIZE.replace('0.1', h['number'])}", RATE),
        ("E113", "train", "^{f} {sets} {number}", _set,
         "that is an option of the optimiser, behind with"),
        ("E113", "train", "^metrics|metric|measure|evaluate|report|log|monitor {sets} {rest}",
         ": watch error = argmax(net(x)) != label on mnist_test every 1 epoch", WATCHED),
        ("E113", "train", "^data|dataset|model|on {sets} {rest}",
         ": train fit on mnist batch 100 for 1 epoch {",
         "what a phase reads stands in its first line, what it learns behind over"),
        ("E110", "train", "^{dotted} = {rest}", _moved, CHANGED),
        ("E114", "block", "^{declared} {f}[{inside}] {joins} {tail}", _drawn, DRAWN),
        ("E113", "", "^optimizer|optim|opt|optimiser|solver {sets} ~{f}({inside})", _set_apart,
         "an optimiser is named in minimize, after with"),
        ("E113", "", "^eval|evaluate|test|validate|evaluation|metrics {f}{tail}",
         ": watch error = argmax(net(x)) != label on mnist_test every 1 epoch", WATCHED),
        ("E113", "", "^model|network|net|nn {f} = {rest}", _named_net, NAMED),
        ("E110", "", "^{f}: {g} = {rest}", _typed, NAMED),
        ("E117", "", "^block {f} {", lambda h: f": block {h['f']}(x[784]) -> y[10] {{", SECTION),
        ("E113", "block", "^repeat|loop|do {k} {tail}", _rounds,
         "what is repeated stands in a for, and each round has its own name"),
        ("E114", "train", "^minimize {lrest} with {f} {braces}", _braced,
         "an optimiser has its options in ( )"),
        ("E115", "", "^{f}[{inside}] = raw{tail}", ": data d = table(\"points.csv\") {", FIELDS),
        ("E115", "", "^{f} = raw{tail}", ": data d = table(\"points.csv\") {", FIELDS),
        ("E113", "", "^optimizer|optim|opt|optimiser|solver {sets} {f} {tail}", _set_apart,
         "an optimiser is named in minimize, after with"),
        ("E117", "", "^task {f}({inside}) -> {tail}", lambda h: f"task {h['f']}({h['inside']}) {{",
         "a task gives its values out with emit, and has no result"),
        ("E113", "task", "^return {rest}", "emit {rest}", "a task gives a value out with emit"),
        ("E113", "block", "^layer|dense_layer {f} = {rest}", "{f} = {rest}", LAYER),
        ("E113", "block", "^layer|hidden_layer {f}: {rest}", ": h = x -> dense(100)", LAYER),
        ("E113", "block", f"^{{f}}: {PARAMETER}[{{inside}}]{{tail}}", _learnt, PARAM),
    )
)  # fmt: skip
