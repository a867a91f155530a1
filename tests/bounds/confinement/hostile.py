"""Specs that ask for too much: kinds of sizes, each small, large and beyond any machine.

Run as a program it takes each through commands under a limit of memory and of time, and prints
what went wrong: `PYTHONPATH=tests/bounds python -m confinement.hostile check,run`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from confinement.process import Left, confined
from dln.cli import main

DATA = """data points = rows([[0, 1], [1, 3], [2, 5], [3, 7]]) {
  x[1] = raw[:1]
  t[1] = raw[1:]
}
"""
TRAIN = """train fit on points.all batch BATCH for EPOCHS epochs {
  minimize sum((net(x) - t)^2) over net with sgd(lr = 0.1)
  watch e = sum(net(x)) every EVERY epochs
}
"""
CHECK = """let y = net([1])
check "it" {
  expect sum(y) == 0 within 10^9
}
task t() {
  emit y
}
"""


def block(*body: str) -> str:
    """A block with these lines, trained and checked."""
    lines = "".join(f"  {line}\n" for line in body)
    return f"block b(x[1]) -> y[1] {{\n  param w[1] = 0.5\n{lines}}}\nlet net = b()\n"


def phase(batch: str = "2", epochs: str = "1", every: str = "1") -> str:
    """A phase with other numbers."""
    text = TRAIN.replace("BATCH", batch).replace("EPOCHS", epochs).replace("EVERY", every)
    return DATA + "let net = dense(1)\n" + text


SCAN = ("h[-1] = zeros(1)", "scan t in N {", "  h[t] = h[t-1] * w + x", "}", "y = last(h)")
KINDS = {
    "parameters": block("param W[N] = 0", "y = [sum(W)] * x"),
    "units": block("let q = dense(N)", "y = [sum(q(x))] * w"),
    "steps": block(*SCAN),
    "border": block("z = pad(x, N)", "y = [sum(z)] * w"),
    "pairs": block("z[i, j] = sin(i * 1.0) * x[0]", "y = [sum(z)] * w").replace("z[i", "z[N * i"),
    "zeros": block("y = [sum(zeros(N) + 1)] * w * x"),
    "draws": block("z ~ normal(zeros(N), 1)", "y = [sum(z)] * w * x"),
    "rounds": block("for i in 1..N {", "  let q = 1", "}", "y = w * x"),
    "inner rounds": block("for i in 1..1000 {", "  for j in 1..N {", "    let q = 1", "  }", "}",
                          "y = w * x"),
    "list": block("let q = [for i in 1..N: i]", "y = w * x * q[0]"),
    "lists": block("let q = [for i in 1..1000: [for j in 1..N: i]]", "y = w * x * q[0][0]"),
    "sum": block("y = [sum(i in 1..N: i * x[0])] * w"),
    "power": block("y = w * x * 2^N"),
    "chain": "block rbm(v[n]: binary; m) {\n  hidden h[m]: binary\n  param W[n, m] ~ normal(0, 1)\n"
             "  energy = -(v @ W @ h)\n}\nlet R = rbm(3)\n"
             "let net = dense(1)\nlet z = gibbs(R, [0, 1], N)\n",
    "calls": "fn f(n) = n if n < 2 else f(n - 1) + f(n - 2)\nlet net = dense(1)\nlet a = f(N)\n",
    "synthetic": 'let net = dense(1)\ndata points = synthetic("gaussians", 2, 2, N) {\n'
                 "  x[1] = raw.x[:1]"
                 "\n  t[1] = raw.x[1:]\n}\n",
    "classes": block("let q = dense(N)", "y = w * x * [sum(softmax(q(x)))]"),
    "batch": phase(batch="N"),
    "every": phase(every="N"),
    "runs": "const rate = 1\n" + phase() + "sweep s {\n  vary rate in 1..N\n  vary seed in 1..N\n"
            "  report fit.e\n}\n",
    "part": phase().replace("t[1] = raw[1:]", "t[1] = raw[1:]\n  split a N"),
}  # fmt: skip
SIZES = ("100000", "10^7", "10^9", "10^12", "10^18", "10^300")
COMMANDS = "check run show plan explain data time gradcheck sweep".split()


def specs() -> Iterator[tuple[str, str]]:
    """Name and text of every spec: kinds times sizes."""
    for kind, text in KINDS.items():
        own = DATA + TRAIN.replace("BATCH", "2").replace("EPOCHS", "1").replace("EVERY", "1")
        more = CHECK + ("" if "train fit" in text or "data points" in text else own)
        for size in SIZES:
            yield f"{kind} {size}", text.replace("N", size) + more


def through(command: str, path: str) -> Left:
    """A spec through a command, in a process that may have 3 GB and 60 s."""
    return confined(lambda: main([command, path]), 3 << 30, 60)


def grid(commands: list[str]) -> int:
    """Everything through everything; how many went wrong."""
    wrong = tried = 0
    for name, text in specs():
        with open("hostile.dln", "w", encoding="utf-8") as f:
            f.write(text)
        for command in commands:
            left, tried = through(command, "hostile.dln"), tried + 1
            if left.code not in (0, 1, 2) or left.raw:
                wrong += 1
                print(f"{command:10} {name:24} {left.code} {left.seconds:.1f} s {left.said[:200]}")
    print(f"{tried} tried, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(grid(sys.argv[1].split(",") if len(sys.argv) > 1 else COMMANDS) > 0)
