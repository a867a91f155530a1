"""The distributions of the language: what stands behind `~`."""

from __future__ import annotations

from dln.compiler.frontend.context import blaming, broadcasting
from dln.compiler.frontend.context.build_context import Build, Value
from dln.compiler.frontend.context.frame import Drawing
from dln.compiler.frontend.context.place import replace
from dln.compiler.frontend.context.static_values import whole_size
from dln.compiler.frontend.context.values import NUMBER, WHOLE, unfit
from dln.compiler.frontend.tensors import pointwise
from dln.compiler.frontend.tensors.domains import want_domain
from dln.compiler.ir.graph import Node
from dln.compiler.ir.sizes import BATCH_SIZE, Size
from dln.compiler.ir.tensor_type import BINARY, PROB, TensorType
from dln.grammar.diagnostics import Span

LEAST = 2.0**-26
"""Stands for a uniform number that is 0, where its logarithm is taken."""


def _draws(b: Build, span: Span, name: str, *parameters: Value) -> tuple[str, TensorType]:
    """The site and the shape of a draw: declared, or that of the distribution's parameters."""
    if b.drawing is None:
        text, (remedy, fact) = f"{name} draws, and is written with ~", _drawn(b, span)
        b.fail("E343", text, span, f"a draw from {name}", remedy=remedy, facts=fact)
    nodes = [p for p in parameters if isinstance(p, Node) and p.type.shape]
    like = TensorType(b.drawing.shape or ())
    if nodes:
        like = broadcasting.align(b, nodes, span)[0].type
    return b.drawing.take(), for_each(b, like)


def _drawn(b: Build, span: Span) -> tuple[str, tuple[str, ...]]:
    """How a line is written whose value draws, or has a part that does."""
    own = blaming.own_call(b.calls, b.source) if span.source is not b.source else None
    at = span if own is None else own.span  # `W = glorot(n, m)`, which draws inside
    draw, before = broadcasting.whole_text(at.text), at.source.line(at.line)[: at.column - 1]
    if before.startswith(("let ", "const ")):
        return "", ("a draw stands in a block, a data set, a phase, a task or a check",)
    target = before.strip().removeprefix("let ")
    if target.endswith("="):
        return f"{target[:-1].rstrip()} ~ {draw}", ()
    return f"noise ~ {draw}, on a line of its own, and noise here", ()


def for_each(b: Build, like: TensorType) -> TensorType:
    """The shape of numbers drawn for each example, where there are examples."""
    if not b.frame.batched or "batch" in like.running:
        return TensorType(like.shape, like.running)
    sizes = dict(zip(like.running, like.lead, strict=True)) | {"batch": BATCH_SIZE}
    return broadcasting.runs(sizes, like.example)


def _draw(b: Build, span: Span, kind: str, site: str, like: TensorType) -> Node:
    site += "".join(f"~{s}" for s in b.time.round)  # steps that are written out
    node = b.at(span)("draw", kind=kind, site=site, shape=like.shape, running=like.running)
    if b.time.loop is not None:  # in a scan each step draws anew
        b.facts.drawn[node] = b.time.loop.number
    return node


def uniform(b: Build, span: Span, low: Value = 0.0, high: Value | None = None) -> Value:
    """Between two bounds, 0 and 1 if both are left out."""
    if high is None:
        high = 1.0
        _refuse_one(b, span, "uniform", low, "uniform(-{0}, {0})", "from 0 on: uniform(0, {0})")
    u = _draw(b, span, "uniform", *_draws(b, span, "uniform", low, high))
    if low == 0 and high == 1:
        return u
    if isinstance(low, int | float) and isinstance(high, int | float):
        width: Value = high - low
    else:
        width = pointwise.binary(b, "sub", high, low, span)
    return pointwise.binary(b, "add", low, pointwise.binary(b, "mul", width, u, span), span)


def normal(b: Build, span: Span, mean: Value = 0.0, deviation: Value | None = None) -> Value:
    """Mean and standard deviation, 0 and 1 if both are left out; the gradient runs through both."""
    if deviation is None:
        deviation = 1.0
        _refuse_one(b, span, "normal", mean, "normal(0, {0})", "with mean {0}: normal({0}, 1)")
    z = _draw(b, span, "normal", *_draws(b, span, "normal", mean, deviation))
    scaled = pointwise.binary(b, "mul", deviation, z, span) if deviation != 1 else z
    return pointwise.binary(b, "add", mean, scaled, span) if mean != 0 else scaled


def _refuse_one(b: Build, span: Span, name: str, value: Value, meant: str, other: str) -> None:
    """`normal(0.1)`: one number, which is the second for some and the first for others."""
    if not isinstance(value, int | float) or value != 0:
        takes = {"normal": "a mean and a deviation", "uniform": "a lower and an upper bound"}[name]
        at = b.blame(value, span)
        text = broadcasting.whole_text(at.text)
        facts = (other.format(text),)
        b.fail("E322", f"{name} takes {takes}", span, "is given one", (), meant.format(text), facts)


def bernoulli(b: Build, span: Span, p: Value) -> Node:
    """1 with probability p, else 0: whether a uniform number is below p."""
    for one in p if isinstance(p, list) else [p]:
        if isinstance(one, int | float) and not 0 <= one <= 1:
            fact = "as in bernoulli(0.5), which is 1 in half of the draws"
            text = "a probability lies between 0 and 1"
            b.fail("E439", text, b.blame(p, span), f"is {one}", facts=(fact,))
    return _below(b, _draw(b, span, "uniform", *_draws(b, span, "bernoulli", p)), p, span)


def _below(b: Build, u: Node, p: Value, span: Span) -> Node:
    """1 where a uniform number lies below p, else 0."""
    node = pointwise.binary(b, "lt", u, p, span)
    return b.at(span)("asserted", b.at(span)("cast", node, kind="real"), domain=BINARY)


def relaxed(b: Build, span: Span, p: Value, temperature: Value = 0.5) -> Node:
    """A number between 0 and 1 in place of a bit, through which the gradient runs: the concrete
    distribution sigmoid((logit(p) - logit(u)) / temperature) (Maddison, Mnih and Teh 2017)."""
    node = broadcasting.as_tensor(b, p, span)
    if not _numbers_between(b, p, b.blame(p, span)):
        node = want_domain(b, node, PROB, b.blame(p, span), "relaxed")
    if isinstance(temperature, int | float) and temperature <= 0:
        at = b.blame(temperature, span)
        b.fail("E346", "a temperature lies above 0", at, f"is {temperature}")
    u = _draw(b, span, "uniform", *_draws(b, span, "relaxed", node))
    u = b.at(span)("maximum", u, b.at(span).const(LEAST))
    odds = pointwise.binary(b, "sub", _log_odds(b, node, span), _log_odds(b, u, span), span)
    return b.at(span)("sigmoid", pointwise.binary(b, "div", odds, temperature, span))


def _numbers_between(b: Build, p: Value, at: Span) -> bool:
    """Whether p is a number or a list of numbers; they lie between 0 and 1."""
    if isinstance(p, list):
        return all([_numbers_between(b, v, at) for v in p])
    if isinstance(p, int | float) and not 0 < p < 1:
        b.fail("E346", "what is relaxed lies between 0 and 1", at, f"is {p}")
    return isinstance(p, int | float)


def _log_odds(b: Build, p: Node, span: Span) -> Node:
    make = b.at(span)
    return make.sub(make("log", p), make("log", make.complement(p)))


def categorical(b: Build, span: Span, p: Value) -> Node:
    """A class with the probabilities p, the last axis: the first one at which their running sum
    exceeds a uniform share of the total. One without probability is never drawn."""
    node = broadcasting.quantity(b, p, span)
    if not (isinstance(p, list) and all(isinstance(v, int | float) and v >= 0 for v in p)):
        node = want_domain(b, node, PROB, b.blame(p, span), "categorical")
    if not node.type.example:
        at = b.blame(p, span)
        b.fail("E206", "categorical takes a vector of probabilities", at, "is a single number")
    axis = len(node.type.shape) - 1
    rest = TensorType(node.type.shape[:-1], node.type.running)
    if rest.shape == () and b.drawing is not None and b.drawing.shape:
        rest = TensorType(b.drawing.shape)
    site, like = _draws(b, span, "categorical", *_shaped(b, rest))
    whole = TensorType((*like.shape, node.type.shape[-1]), like.running)
    sums = broadcasting.spread(b, b.at(span)("cumsum", node, axis=axis), whole, span)
    total, u = _last(b, sums, span), _draw(b, span, "uniform", site, like)
    places = tuple(range(len(like.shape)))
    share = b.at(span).broadcast(b.at(span).mul(u, total), whole, places)
    most = b.at(span).broadcast(total, whole, places)
    reached = b.at(span)("or", b.at(span)("gt", sums, share), b.at(span)("ge", sums, most))
    return b.at(span)("argmax", reached, axis=len(places))


def _shaped(b: Build, like: TensorType) -> tuple[Value, ...]:
    """A parameter of a shape, or none for a single number."""
    return (b.make.zeros(like),) if like.shape else ()


def _last(b: Build, node: Node, span: Span) -> Node:
    """The last element along the last axis: there is one, whatever its size turns out to be."""
    shape = node.type.shape
    n = b.number(shape[-1])
    if n is None:
        return b.at(span)("max", node, axes=(len(shape) - 1,))
    cut = b.at(span)("slice", node, axis=len(shape) - 1, start=n - 1, stop=n)
    return b.at(span)("reshape", cut, shape=shape[:-1], running=node.type.running)


def mask(b: Build, span: Span, x: Value, p: Value) -> Node:
    """1 with probability p, else 0, for each element of x, drawn afresh at each update.

    What `dropout` is made of (Srivastava et al. 2014): a draw within an expression. Its place is
    the equation it stands in.
    """
    node = broadcasting.as_tensor(b, x, span)
    if isinstance(p, int | float) and not 0 < p <= 1:
        out = 1 - p  # of dropout(50)
        said = [a for call in b.calls[-1:] if (a := call.argument(span, "p")) is not None]
        percent = 1 < out <= 100 and said and said[0].value == out and said[0].span.text.isdigit()
        facts = (f"{out:g} % is {out / 100:g}",) if percent else ()
        text = "the share that is kept lies above 0, up to 1"
        b.fail("E346", text, b.blame(p, span), f"is {p}", facts=facts)
    like = for_each(b, TensorType(node.type.shape, node.type.running))
    return _below(b, _draw(b, span, "uniform", place_site(b, span, "mask"), like), p, span)


def place_site(b: Build, span: Span, what: str) -> str:
    """The path of a draw within an expression: that of its equation; places of the same kind in
    one equation are numbered, and so are the rounds and steps that come there."""
    site = b.site((b.naming.drawn or b.naming).path)
    known = b.frame.masks.setdefault(f"{site}.{what}", [])
    place = (b.time.stretch, *(call.span for call in b.calls), span)
    if place not in known:
        known.append(place)
    number = known.index(place)
    return f"{site}.{what}" + (f"#{number + 1}" if number else "")


def noise(b: Build, span: Span, n: Value, *sizes: Value) -> Node:
    """`noise(n, 784)`: n vectors of bits, each 1 with probability 1/2, where chains begin. What is
    made of them has a value for each."""
    rows, *each = (whole_size(b, v, span) for v in (n, *sizes))
    if rows.value == 0:
        unfit(b, "E305", "noise has at least one row", b.blame(n, span), n, WHOLE)
    axis = f"noise.{next(b.counter)}"
    like = TensorType((rows, *each), (axis,), "real", PROB)
    make, drawing = b.at(span), Drawing(place_site(b, span, "noise"), None)
    half = make("asserted", make.broadcast(make.const(0.5), like, ()), domain=PROB)
    bits = bernoulli(replace(b, drawing=drawing), span, half)
    return make("asserted", bits, domain=BINARY)


# ---- distortions -------------------------------------------------------------------------------

AT_MOST = {"shift": None, "scale": 0.9, "squeeze": 0.9, "shear": None}


def distort(
    b: Build,
    span: Span,
    image: Value,
    shift: Value = 2,
    scale: Value = 0.15,
    squeeze: Value = 0.15,
    shear: Value = 0.2,
    background: Value = 0,
) -> Node:
    """`image ~ distort(raw.image)`: the image [h, w] or [maps, h, w] moved by chance (LeCun,
    Bottou, Bengio and Haffner 1998, section III).

    Each is drawn evenly from its range: a shift of up to `shift` pixels in both directions; sides 1
    - scale to 1 + scale times as long; one side 1 - squeeze to 1 + squeeze times as long, the other
    as much shorter; columns slanted by -shear to shear pixels for each row. `background` is what
    comes in from outside.
    """
    node = broadcasting.quantity(b, image, span)
    if len(node.type.example) not in (2, 3):
        at = b.blame(image, span)
        message = "distort takes an image [h, w] or [maps, h, w]"
        b.fail("E206", message, at, f"is {b.shown(node.type)}")
    how = {"shift": shift, "scale": scale, "squeeze": squeeze, "shear": shear}
    ranges = {k: _range(b, span, k, v) for k, v in how.items()}
    if isinstance(background, bool) or not isinstance(background, int | float):
        at = b.blame(background, span)
        text = "background is a number known when the spec is read"
        unfit(b, "E305", text, at, background, NUMBER)
    lead = TensorType(node.type.lead, node.type.running)
    five = TensorType((*lead.shape, Size(5)), lead.running)
    site, like = _draws(b, span, "distort", *_shaped(b, five))
    whole = TensorType((*like.lead, *node.type.example), like.running)
    u, spread = _draw(b, span, "uniform", site, like), broadcasting.spread(b, node, whole, span)
    return b.at(span)("warp", spread, u, **ranges, background=float(background))


def _range(b: Build, span: Span, name: str, value: Value) -> float:
    """How far a distortion goes."""
    most = AT_MOST[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        at = b.blame(value, span)
        unfit(b, "E347", f"{name} is a number from 0 on", at, value, NUMBER)
    if most is not None and value > most:
        at = b.blame(value, span)
        b.fail("E347", f"{name} is a share from 0 to {most}", at, f"is {value}")
    return float(value)
