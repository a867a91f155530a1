"""Formulas as they stand in papers, and how they are written here."""

from __future__ import annotations

import re

from dln.grammar.idioms.forms import Idiom

Holes = dict[str, str]
REDUCED = "sum|mean|max|min|argmax|argmin"
MARKS = {
    "cdot": "*", "times": "*", "odot": "*", "circ": "*", "top": "'", "intercal": "'", "prime": "'",
    "leq": "<=", "geq": ">=", "neq": "!=", "to": "->", "rightarrow": "->", "sim": "~",
    "left": "", "right": "", "mathbf": "", "mathrm": "", "operatorname": "", "text": "", "hat": "",
    "bm": "", "boldsymbol": "", "vec": "", "quad": "", "lVert": "|", "rVert": "|",
}  # fmt: skip
FRACTION = re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
SUM = re.compile(
    r"\\?\b(sum|mean|max|min)_\{?(\w)(?:\s*(?:=|\\in|in)\s*[^{}]*)?\}?(?:\^(?:\w|\{[^{}]*\}))?\s+"
)
LOW = re.compile(r"([A-Za-z]\w*?)_(?:\{([^{}]*)\}|([a-z0-9])\b)")
NUMBER = re.compile(r"-?\d[\w.]*")
APART = re.compile(r"(?<=[\w\])}'])[ \t]+(?=[A-Za-z(\\])")


def _indices(text: str) -> str:
    """`ij` as `i, j`."""
    return ", ".join(text) if re.fullmatch(r"[a-z]{2,3}", text) else text


def _summed(text: str) -> str:
    """`sum_i W_i x_i + b` as `sum(i: W_i * x_i) + b`: what is summed ends at a sign outside of
    brackets."""
    while (found := SUM.search(text)) is not None:
        depth, stop = 0, found.end()
        for stop in range(found.end(), len(text) + 1):
            c = text[stop : stop + 1]
            depth += (c in ("(", "[", "{")) - (c in (")", "]", "}"))
            if not c or depth < 0 or (not depth and c in "+-" and text[stop - 1] == " "):
                break
        body = APART.sub(" * ", text[found.end() : stop].strip())
        tail = f" {text[stop:]}" if text[stop : stop + 1] in ("+", "-") else text[stop:]
        text = f"{text[: found.start()]}{found[1]}({found[2]}: {body}){tail}"
    return text


def formula(text: str) -> str:
    """A line of LaTeX, or with its indices behind _, as it is written here."""
    text = re.sub(r"\\(?:sum|max|min)\b", lambda m: m[0][1:], text).replace("$", "")
    while (found := FRACTION.search(text)) is not None:
        parts = (p if re.fullmatch(r"\w+", p) else f"({p})" for p in found.groups())
        text = f"{text[: found.start()]}{' / '.join(parts)}{text[found.end() :]}"
    text = re.sub(r"\\sqrt\s*\{([^{}]*)\}", r"sqrt(\1)", text)
    text = re.sub(r"(?<![\w\\])e\^\{([^{}]*)\}", r"exp(\1)", text)
    text = re.sub(r"\\sigma(?=\s*(?:\\left)?\s*\()", "sigmoid", text)
    text = re.sub(r"\^\{?\\(?:top|intercal)\}?|\^\{?T\}?(?!\w)", "'", text)
    text = _summed(text)
    text = LOW.sub(lambda m: f"{m[1]}[{_indices(m[2] or m[3])}]", text)
    text = re.sub(r"\\([A-Za-z]+)\s?", lambda m: MARKS.get(m[1], m[1]), text)
    text = re.sub(r"\^\{([^{}]*)\}", r"^(\1)", text)
    return re.sub(r"\{([^{}]*)\}", r"\1", text)


def _formula(h: Holes) -> str | None:
    made = " ".join(formula(h["latex"]).split())
    return "" if re.search(r"[\\{}$]", made) else made


def ranks(source: str) -> dict[str, int]:
    """How many axes the names have that a text declares, of those that are declared alike."""
    found: dict[str, set[int]] = {}
    for line in re.findall(r"^[ \t]*(?:param|fixed|hidden|block)\b[^\n#]*", source, re.MULTILINE):
        bare = re.sub(r"[=~][^,]*?\([^()]*\)", "", line)
        for name, dims in re.findall(r"(\w+)(?:\[([^\[\]]*)\])?(?=\s*(?:[,;)=~:]|$))", bare):
            found.setdefault(name, set()).add(dims.count(",") + 1 if dims else 0)
    return {name: min(some) for name, some in found.items() if len(some) == 1}


def product(left: str, right: str, source: str) -> str:
    """The mark between two factors, by what the text declares of them; "" where it is open."""
    known = ranks(source)
    of = [known.get(name.rstrip("'"), -1) for name in (left, right)]
    if 2 in of and min(of) > 0:
        return "@"
    return "*" if 0 in of and min(of) >= 0 else ""


def _multiplied(h: Holes) -> str | None:
    """`W^T x + b`, with the mark of the product where it is clear."""
    turned = re.sub(r"\^\s*\(?T\)?(?!\w)", "'", h["turned"])

    def put(found: re.Match[str]) -> str:
        mark = product(found[1], found[2], h["source"])
        return f"{found[1]} {mark} {found[2]}" if mark else found[0]

    return re.sub(r"\b([A-Za-z]\w*'?)[ \t]+([A-Za-z]\w*'?)(?![\w(\[])", put, turned)


def _repeated(h: Holes) -> str | None:
    """`for j in 0..m-1: y[j] = ...`, which holds for all j as it is."""
    index, line = h["f"], h["rest"]
    if not re.match(rf"\w+\[[^\]]*\b{index}\b[^\]]*\]\s*=(?!=)", line):
        return None
    name = re.match(r"\w+", line)
    again = name and re.search(rf"=.*\b{name[0]}\[", line)
    return f": scan {index} in time {{" if again else line


def _each_of(h: Holes) -> str:
    """`sum(l.W^2 for l in layers)`: of a range an index is summed over, of a list its entries."""
    name, f, along, each = h["reduced"], h["f"], h["along"].strip(), h["summand"].strip()
    if re.search(r"\.\.|\brange\b|^\w+\s*[-+*]", along):
        return f"{name}({f} in {along}: {each})"
    inner = each if re.match(r"(?:sum|norm|mean)\(", each) else f"sum({each})"
    return f"{name}([for {f} in {along}: {inner}])"


def _apart(h: Holes) -> str:
    """`a = 1, b = 2` on two lines; in a block numbers may be parameters without their word."""
    f, g, first, second = h["f"], h["g"], h["closed"].strip(), h["rest"].strip()
    if h["around"] == "block" and NUMBER.fullmatch(first) and NUMBER.fullmatch(second):
        return f": param {f} = {first}, {g} = {second}, or fixed where they are not learnt"
    return f"{f} = {first}\n{g} = {second}"


def of_energy(h: Holes) -> bool:
    """Whether `E(v, h) = ...` is the energy of a block."""
    own = h["above"].rsplit("block", 1)[-1]
    return h["f"] == "energy" or (h["f"] in ("E", "Energy", "H") and "hidden" in own)


def bracketed(h: Holes) -> str:
    """`h(t) = tanh(W @ x(t) + U @ h(t-1))`: what is called with the index alone is an element."""
    names = [a.strip() for a in h["args"].split(",")]
    index = "|".join(map(re.escape, filter(None, names)))
    rest = re.sub(rf"\b(\w+)\((({index})\s*(?:[-+]\s*\d+)?)\)", _element, h["rest"])
    return f"{h['f']}[{h['args']}] = {rest}"


def _element(found: re.Match[str]) -> str:
    functions = "tanh sigmoid exp log relu softmax sqrt abs sin cos onehot sum mean".split()
    return found[0] if found[1] in functions else f"{found[1]}[{found[2]}]"


FORMULA = "formulas have no marks of LaTeX: indices stand in [ ], a sum is sum(i: x[i])"
ALL = "an equation with an index holds for all of its values, without a for"

ROWS = tuple(
    Idiom(form, here, says, code)
    for code, form, here, says in (
        ("E112", "^{latex}", _formula, FORMULA),
        ("E112", "^{turned}", _multiplied, "a matrix is turned with a mark behind it: W'"),
        ("E113", "{reduced}({summand} for {f} in {along})", _each_of,
         "the indices of a sum stand first, before a colon"),
        ("E115", "^for {f} in {cond}: {rest}", _repeated, ALL),
        ("E111", "^{f} = {closed}, {g} = {rest}", _apart,
         "one equation stands on a line"),
    )
)  # fmt: skip
