"""Calls of layers, optimisers and first values of other tools, with their arguments as here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from dln.grammar.idioms import names
from dln.grammar.idioms.concepts.tables import fields, tables

Args = tuple[str, ...]
Writer = Callable[[str], str]
MOST = 2000  # characters of a call


class Translation(NamedTuple):
    """What stands here in place of a call, or what is said of it."""

    says: str
    remedies: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    sure: bool = True


def brackets(text: str, place: int) -> tuple[str, int] | None:
    """What stands in the brackets behind a place, and where they end."""
    found = re.compile(r"[ \t]*\(").match(text, place)
    if found is None:
        return None
    depth, quote = 0, ""
    for k, c in enumerate(text[found.end() - 1 : place + MOST], found.end() - 1):
        quote = c if not quote and c in "\"'" else "" if c == quote else quote
        depth += 0 if quote else (c in "([{") - (c in ")]}")
        if not depth:
            return text[found.end() : k], k + 1
    return None


def split(inside: str) -> Args:
    """The arguments of a call."""
    return tuple(a.strip() for a in names.arguments(inside))


def value(arg: str) -> str:
    """An argument without its name."""
    return re.sub(r"^\w+\s*=(?!=)\s*", "", arg).strip()


OWN = re.compile(
    r"(?:axis|dim)\s*=\s*-?1|keep_?dims?\s*=.*|dtype\s*=.*|name\s*=.*|device\s*=.*|out\s*=.*"
)
TRUE = re.compile(r"\w+\s*=\s*(?:True|False|None)")


def plain_args(args: Args | None) -> Args:
    """Arguments without those that say what is so anyway."""
    return tuple(a for a in args or () if not OWN.fullmatch(a) and not TRUE.fullmatch(a))


def _number(arg: str) -> bool:
    return re.fullmatch(r"\d[\d.e+-]*", arg.strip()) is not None


# ---- layers ------------------------------------------------------------------------------------


BOTH = frozenset("dense conv conv1d conv3d conv_transpose lstm gru rnn embedding".split())
IMAGES = frozenset("conv conv1d conv3d conv_transpose".split())  # with two sizes of their own
FOLLOWS = "a layer has its number of results only: that of its inputs follows from what it is given"


def layer(word: str, args: Args | None, head: str, write: Writer) -> Translation | None:
    """A layer of the library under another name, with its arguments."""
    if word not in fields("made"):
        return _flow(word, args, write)
    (here, order, bare), says = fields("made")[word]
    if args is None:
        return (
            Translation(says, (here,))
            if not bare
            else Translation(says, facts=(f"as in {shown(here)}",))
        )
    if args and re.fullmatch(r"[A-Za-z][\w.]*", args[0]):
        applied = f"as in {args[0]} -> {shown(here)}"  # it is given what it is applied to
        return Translation(says, facts=(applied,), sure=False)
    numbers = 0
    for a in args:
        if not _number(a):
            break
        numbers += 1
    takes = order.split()
    if here in BOTH and numbers > (2 if here in IMAGES else 1):
        takes, says = ["-", *takes], FOLLOWS if here not in IMAGES else says
    if word == "multiheadattention" and numbers > 1 and int(float(args[0])) > int(float(args[1])):
        takes = ["-", "heads"]  # the size, then how many
    given, told = _assigned(args, takes, here, write)
    needed = bare.split()
    if not all(n in given for n in needed):
        return Translation(says, facts=(f"as in {shown(here)}", *told))
    parts = [given.pop(n) for n in needed] + [f"{k} = {v}" for k, v in given.items()]
    call = f"{here}({', '.join(parts)})"
    if told:
        return Translation(says, facts=(f"as in {call}", *told))
    return Translation(says, (call,))


def shown(here: str) -> str:
    """A layer of the library as one writes it."""
    return f"{here}(6, 5)" if here in IMAGES else f"{here}(4)" if "heads" in here else f"{here}(32)"


EDGE = re.compile(r"[(\[]\s*(\d+)\s*,\s*\1\s*,?(?:\s*\1\s*)?[)\]]|[(\[]\s*(\d+)\s*,?\s*[)\]]")


def _assigned(
    args: Args, takes: list[str], here: str, write: Writer
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The options by their names here, and what is said of those that there are not."""
    given: dict[str, str] = {}
    told: list[str] = []
    free = iter(takes)
    for arg in args:
        named = re.match(r"(\w+)\s*=(?!=)\s*([\s\S]*)", arg)
        name = named[1] if named else next(free, "-")
        text = (named[2] if named else arg).strip()
        edge = EDGE.fullmatch(text)
        text = (edge[1] or edge[2]) if edge else text
        if named:
            name = _own_name(named[1], here)
        denied = text.casefold() in ("false", "none", "null")
        if name in names.TRUE and denied and name in ("bias", "use_bias"):
            told.append(names.INSTEAD["bias"])
        elif name in ("border", "padding") and not _number(text):
            same = re.search("same", text, re.I) is not None and given.get("size", "").isdigit()
            if same and int(given["size"]) % 2 and here.startswith(("conv", "depth")):
                given["border"] = str(int(given["size"]) // 2)
            elif same and here.endswith("pool"):
                told.append('a pool has no border: x -> pad(1) before it, or rest = "cut"')
        elif name == "act" and text.casefold() in ("true", "false"):  # a third argument: the bias
            told += [names.INSTEAD["bias"]] * denied
        elif name == "-" or name in names.NEEDLESS or name in names.TRUE or denied:
            continue
        elif name in given or (name in names.INSTEAD and name not in takes):
            told.append(names.INSTEAD.get(name, ""))
        elif name in ("act", "init"):
            bare = _function(name, text, told)
            if name == "init" or bare != "id":
                given[name] = bare
        elif name == "border" and text == "0":
            continue
        else:
            given[name] = write(text)
    _checked(given, told, here)
    return given, tuple(t for t in dict.fromkeys(told) if t)


def _function(name: str, text: str, told: list[str]) -> str:
    """A function that is an option, by its name here; one that is written out is told."""
    bare = re.sub(r"\(\)$", "", text.strip("\"'")).split(".")[-1]
    word, by = names.plain(bare), tables()
    if name == "act" and word in by["curve"]:
        body = by["curve"][word][0].replace("{a}", "a")
        told.append(f"as in fn {bare}(a) = {body}, on a line of its own")
    known = by["inits"].get(word, ("",))[0] if name == "init" else ""
    known = known or by["renamed"].get(word, ("",))[0]
    return known or names.OTHER.get(bare.casefold().rstrip("_")) or bare.casefold()


TAKEN = frozenset("m k size stride border gap groups act init heads eps rate".split())


def _checked(given: dict[str, str], told: list[str], here: str) -> None:
    """What of the options a layer has not is taken out, and told."""
    if here.endswith("pool") and given.get("stride") == given.get("size"):
        given.pop("stride", None)
    for name in [n for n in given if n not in TAKEN]:
        told.append(f"there is no option {name} of {here}")
        given.pop(name)
    if "groups" in given and here == "conv" and (groups := given.pop("groups")) != "1":
        more = f"grouped_conv(6, 3, groups = {groups})"
        told.append(f"maps in groups are a layer of their own: {more}")
    if here.endswith("pool") and (given.pop("border", "0")) not in ("0", ""):
        told.append("a pool has no border: x -> pad(1) before it")


def _own_name(name: str, here: str) -> str:
    other = {
        "momentum": "-",
        "decay": "-",
        "num_heads": "heads",
        "nhead": "heads",
        "key_dim": "-",
        "head": "heads",
        "embed_dim": "-",
        "d_model": "-",
        "epsilon": "eps",
        "num_features": "-",
        "dim": "m",
        "n": "m",
        "embedding_dim": "m",
        "num_embeddings": "-",
        "normalized_shape": "-",
        "axis": "-",
        "stride": "stride",
        "nonlinearity": "act",
        "padding": "padding",
        "pad": "border",
        "border_mode": "padding",
        "subsample": "stride",
        "kernel_initializer": "init",
        "bias_initializer": "-",
        "affine": "-",
        "track_running_stats": "-",
        "ceil_mode": "-",
        "count_include_pad": "-",
        "padding_mode": "-",
        "causal": "-",
        "input_length": "-",
    }
    if name == "output_dim" and here == "embedding":
        return "m"
    return other.get(name) or names.OPTIONS.get(name, name)


def _flow(word: str, args: Args | None, write: Writer) -> Translation | None:
    """A layer that is a function with one setting."""
    row = tables()["flow"].get(word)
    if row is None or not re.search(r"->\s*$|^$", "") and args is None and "{a}" in row[0]:
        return None
    here, says = row
    if "{a}" not in here:
        return Translation(says, (here,), sure=False)
    given = [re.sub(r"^\w+\s*=(?!=)\s*", "", a) for a in plain_args(args)]
    given = [a for a in given if not re.fullmatch(r"[\"'].*[\"']|0|0\.0|None|True|False", a)]
    edge = EDGE.fullmatch(given[0]) if given else None
    if not given:
        return Translation(
            says, facts=(f"as in {here.replace('{a}', '0.5' if 'dropout' in here else '2')}",)
        )
    inner = (edge[1] or edge[2]) if edge else write(given[0])
    return Translation(says, (here.replace("{a}", inner),), sure=False)


# ---- optimisers --------------------------------------------------------------------------------

NAMED = {
    "learning_rate": "lr", "lr": "lr", "eta": "lr", "weight_decay": "decay", "l2": "decay",
    "beta_1": "b1", "beta1": "b1",
    "b1": "b1", "beta_2": "b2", "beta2": "b2", "b2": "b2", "epsilon": "eps", "eps": "eps",
    "rho": "rho", "alpha": "rho",
    "momentum": "momentum", "mass": "mass", "mu": "momentum", "decay": "decay", "base_lr": "lr",
    "stepsize": "lr",
    "history_size": "history", "learning_rate_init": "lr", "step_size": "lr",
}  # fmt: skip
NORMS = frozenset("clipnorm global_clipnorm max_grad_norm clip_norm clip".split())
LAZY = frozenset(
    "name foreach fused capturable differentiable params jit max_iter dampening "
    "tolerance_grad "
    "line_search_fn nesterov lr_decay initial_accumulator_value".split()
)


AHEAD = re.compile(r"nesterov\s*=\s*True")
MOVED = re.compile(
    r"[\s\S]*[A-Za-z]\w*\.[\s\S]*|[A-Za-z]\w*|\[[\s\S]*"
)  # what is moved, given first


def optimiser(word: str, args: Args | None, head: str, write: Writer) -> Translation | None:
    """An optimiser under another name, with its options."""
    if word not in fields("optimisers"):
        return None
    (here, order), says = fields("optimisers")[word]
    says = says or f"this optimiser is called {here} here"
    given, told, clip = _settings(args or (), here, order, write)
    if here == "adam" and "decay" in given:
        here, says = "adamw", "with a decay of the weights this is adamw"
    elif here == "sgd" and any(map(AHEAD.fullmatch, args or ())):
        here, says = "nesterov", "momentum that looks ahead is an optimiser of its own"
    elif args and MOVED.fullmatch(args[0]) and "=" not in args[0]:
        says = "an optimiser is given its options only; over says what it moves"
    if here in ("nesterov", "momentum") and "momentum" in given:
        given["mass"] = given.pop("momentum")
    own = fields("optimisers")[here][0][1].split()
    told += [f"there is no option {k} of {here}" for k in given if k not in own]
    given = {k: v for k, v in given.items() if k in own}
    needs = here in NEEDS and "lr" not in given
    if needs:
        given = {"lr": NEEDS[here], **given}
    call = f"{here}({', '.join(f'{k} = {v}' for k, v in given.items())}){clip}"
    if told or (needs and args is None):
        return Translation(says, facts=(f"as in with {call}", *dict.fromkeys(told)))
    return Translation(says, (call,))


NEEDS = {"sgd": "0.1", "momentum": "0.1", "nesterov": "0.1", "adagrad": "0.01", "rmsprop": "0.001"}
CLAIMS = frozenset("amsgrad centered use_ema maximize".split())  # that make it another optimiser


def _settings(
    args: Args, here: str, order: str, write: Writer
) -> tuple[dict[str, str], list[str], str]:
    """The options of an optimiser by their names here, what is said of others, and a limit of the
    norm."""
    given, told, clip = dict[str, str](), list[str](), ""
    free = iter(order.split())
    for k, arg in enumerate(args):
        named = re.match(r"(\w+)\s*=(?!=)\s*([\s\S]*)", arg)
        text = (named[2] if named else arg).strip()
        if not k and named is None and MOVED.fullmatch(arg) and not _number(text):
            continue
        name = NAMED.get(named[1], named[1]) if named else next(free, "-")
        pair = re.fullmatch(r"[(\[]([^,]+),([^,]+)[)\]]", text)
        if name == "betas" and pair is not None:
            given |= {"b1": pair[1].strip(), "b2": pair[2].strip()}
        elif name in NORMS:
            clip = f" clip {text}"
        elif name in CLAIMS and text == "True":
            told.append(f"there is no {name} here")
        elif name == "-" or name in (LAZY | CLAIMS) or text in ("0", "0.0", "False", "None"):
            continue
        elif name in NAMED.values():
            given[name] = write(text)
        else:
            told.append(names.INSTEAD.get(name, f"there is no option {name} of {here}"))
    return given, told, clip


# ---- first values ------------------------------------------------------------------------------


FIRST = "first values are glorot, he, fan_in, orthogonal, small or zero, or a function of one's own"


def first_value(word: str, args: Args | None, head: str, write: Writer) -> Translation | None:
    """A function of first values under another name; behind `~` of the sizes that stand there."""
    here = tables()["inits"].get(word, ("",))[0]
    if not here:
        return None
    drawn = re.search(r"\bparam\b[^\n]*?(\w+)\[([^\[\]]*)\]\s*[~=]\s*$", head)
    if drawn is None:
        if re.search(r"=\s*[\"']?$", head) and "~" not in head:
            return Translation(FIRST, (here,))
        return Translation(
            FIRST,
            facts=(f"as in param W[10, 784] ~ {here}(784, 10), or dense(10; init = {here})",),
        )
    if here in ("small", "zero"):
        first = "= 0" if here == "zero" else "~ normal(0, 0.01)"
        named = bool(args) and all(re.fullmatch(r"[A-Za-z]\w*", a) for a in args or ())
        return Translation(FIRST, facts=(f"as in param W[10, 784] {first}",)) if named else None
    sizes = [a.strip() for a in drawn[2].split(",")]
    if len(sizes) != 2:
        return Translation(FIRST, facts=(f"as in param W[10, 784] ~ {here}(784, 10)",))
    return Translation(FIRST, (f"{here}({sizes[1]}, {sizes[0]})",))
