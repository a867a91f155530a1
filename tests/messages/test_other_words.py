"""Words of other tools: each has an answer that is right at its place.

What is written out in place of a function is worked out by dln and held against NumPy and SciPy;
a sample of words stands where one would write them, and each remedy is put in place.
"""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

import dln
from dln.grammar import remedies
from dln.grammar.diagnostics import DlnError, Problem
from dln.grammar.idioms import forms
from dln.grammar.idioms.concepts.tables import FILES, rows, tables
from dln.running.expectations import verdicts

CONCEPTS = Path(forms.__file__).parent / "concepts"
RNG = np.random.default_rng(5)
X, Y, P = RNG.normal(size=6), RNG.normal(size=6) + 0.3, RNG.uniform(0.1, 0.9, size=6)


def _gelu(x):  # type: ignore[no-untyped-def]
    return x / (1 + np.exp(-1.702 * x))


# Functions of one or two arguments: x and y are any numbers, p lies between 0 and 1.
ORACLES = {
    "exp2": (np.exp2, "x"), "exp10": (special.exp10, "x"), "cbrt": (np.cbrt, "x"),
    "hypot": (np.hypot, "xy"), "asinh": (np.arcsinh, "x"), "atanh": (np.arctanh, "p"),
    "sinh": (np.sinh, "x"), "cosh": (np.cosh, "x"), "tan": (np.tan, "x"),
    "logaddexp": (np.logaddexp, "xy"), "logaddexp2": (np.logaddexp2, "xy"),
    "logit": (special.logit, "p"), "log1p": (np.log1p, "p"), "expm1": (np.expm1, "x"),
    "xlogy": (special.xlogy, "pp"), "xlog1py": (special.xlog1py, "xp"),
    "entr": (special.entr, "p"), "relentr": (special.rel_entr, "pp"), "erfc": (special.erfc, "x"),
    "erfinv": (special.erfinv, "p"), "ndtr": (special.ndtr, "x"), "ndtri": (special.ndtri, "p"),
    "logndtr": (special.log_ndtr, "x"), "dnorm": (stats.norm.pdf, "x"), "sinc": (np.sinc, "x"),
    "trunc": (np.trunc, "x"), "frac": (lambda x: np.modf(x)[0], "x"), "round": (np.rint, "x"),
    "ceil": (np.ceil, "x"), "mod": (np.mod, "xp"), "deg2rad": (np.deg2rad, "x"),
    "rad2deg": (np.rad2deg, "x"), "sindg": (special.sindg, "x"), "cosdg": (special.cosdg, "x"),
    "copysign": (np.copysign, "xy"), "fmax": (np.fmax, "xy"), "fmin": (np.fmin, "xy"),
    "floordivide": (np.floor_divide, "xp"), "logexpit": (special.log_expit, "x"),
    "logcosh": (lambda x: np.log(np.cosh(x)), "x"), "boxcox": (special.boxcox, "pp"),
    "invboxcox": (special.inv_boxcox, "pp"), "powm1": (special.powm1, "pp"),
    "pseudohuber": (lambda d, r: special.pseudo_huber(d, r), "pp"),
    "hardsigmoid": (lambda x: np.clip(x + 3, 0, 6) / 6, "x"),
    "hardswish": (lambda x: x * np.clip(x + 3, 0, 6) / 6, "x"),
    "celu": (lambda x: np.where(x > 0, x, np.expm1(x)), "x"),
    "mish": (lambda x: x * np.tanh(np.log1p(np.exp(x))), "x"),
    "softsign": (lambda x: x / (1 + np.abs(x)), "x"), "relu6": (lambda x: np.clip(x, 0, 6), "x"),
    "hardtanh": (lambda x: np.clip(x, -1, 1), "x"), "tanhshrink": (lambda x: x - np.tanh(x), "x"),
    "hardshrink": (lambda x: np.where(np.abs(x) > 0.5, x, 0), "x"),
    "softshrink": (lambda x: np.where(x > 0.5, x - 0.5, np.where(x < -0.5, x + 0.5, 0)), "x"),
    "squareplus": (lambda x: (x + np.hypot(x, 2)) / 2, "x"), "quickgelu": (_gelu, "x"),
    "sparseplus": (lambda x: np.where(x >= 1, x, np.where(x <= -1, 0, (x + 1) ** 2 / 4)), "x"),
    "softmin": (lambda x: special.softmax(-x), "x"), "rms": (lambda x: np.sqrt(np.mean(x**2)), "x"),
    "ptp": (np.ptp, "x"), "countnonzero": (np.count_nonzero, "x"), "normpdf": (stats.norm.pdf, "x"),
    "entropy": (stats.entropy, "s"), "logmeanexp": (lambda x: np.log(np.mean(np.exp(x))), "x"),
    "standardize": (stats.zscore, "x"), "vdot": (np.vdot, "xy"),
    "cosinesimilarity": (lambda x, y: x @ y / np.sqrt((x @ x) * (y @ y)), "xy"),
    "dist": (lambda x, y: np.sqrt(np.sum((x - y) ** 2)), "xy"),
}  # fmt: skip


def test_what_is_written_out_is_what_it_is_called() -> None:
    written = {**tables()["function"], **tables()["curve"]}
    given = {"x": X, "y": Y, "p": P, "q": P[::-1], "s": P / P.sum()}
    lines = [f"let {k} = {v.tolist()} + 0" for k, v in given.items()] + ['check "words" {']
    for name, (oracle, kinds) in ORACLES.items():
        letters = kinds if len(set(kinds)) == len(kinds) else kinds[0] + "q"
        here = forms.filled(written[name][0], dict(zip("ab", letters, strict=False)))
        wanted = np.asarray(oracle(*(given[k] for k in letters))).tolist()
        lines.append(f"  expect {here} == {wanted} within 1e-9")
    done = dln.load("\n".join([*lines, "}"]) + "\n")
    failed = [v for v in verdicts(done.model) if v.status != "passed"]
    assert not failed, failed


def test_a_word_stands_in_one_row_of_a_kind() -> None:
    for name in FILES:
        for kind, table in rows((CONCEPTS / f"{name}.txt").read_text()).items():
            twice = Counter(word for words, _ in table for word in words)
            assert not [word for word, n in twice.items() if n > 1], kind
    for kind, by in tables().items():
        for word, (here, says) in by.items():
            assert word == word.casefold() and here and not says.endswith("."), (kind, word)


HEAD = "data d = given(x[784], label: class(10))\n"
PHASE = """train fit on d batch 20 for 1 epoch {{
  minimize {0} over net with {1}
  watch e = {2}
}}
"""


def spec(h: str = "x -> dense(32)", loss: str = "", opt: str = "", watch: str = "") -> str:
    phase = PHASE.format(
        loss or "cross_entropy(net(x), label)", opt or "sgd(lr = 0.1)", watch or "net(x)[0]"
    )
    body = f"  h = {h}\n  y = h -> dense(10)\n"
    return f"{HEAD}block f(x[784]) -> y[10]: logit {{\n{body}}}\nlet net = f()\n{phase}"


def first(text: str) -> Problem:
    with pytest.raises(DlnError) as caught:
        dln.load(text)
    return caught.value.problems[0]


MENDED = [
    ({"h": "x -> nn.Linear(784, 32)"}, "dense(32)"),
    ({"h": "x -> torch.nn.Linear(in_features=784, out_features=32)"}, "dense(32)"),
    ({"h": "x -> Dense(units=32, activation=\"relu\")"}, "dense(32, act = relu)"),
    ({"h": "x -> layers.Dense(32, kernel_initializer='he_normal')"},
     "h = x -> dense(32, init = he)"),
    ({"h": "x -> nn.Softmax(dim=1)"}, "softmax"), ({"h": "x -> nn.GELU()"}, "gelu"),
    ({"h": "torch.logaddexp(x, 2 * x)"}, "log(exp(x) + exp(2 * x))"),
    ({"h": "jnp.cbrt(x)"}, "sign(x) * abs(x)^(1 / 3)"), ({"h": "x.clamp_min(0)"}, "max(x, 0)"),
    ({"opt": "torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.9, 0.99))"},
     "minimize cross_entropy(net(x), label) over net with adam(lr = 1e-3, b1 = 0.9, b2 = 0.99)"),
    ({"opt": "SGD(learning_rate=0.1, momentum=0.9, nesterov=True)"},
     "nesterov(lr = 0.1, mass = 0.9)"),
    ({"opt": "Adam(learning_rate=CosineDecay(0.1, 1000), clipnorm=5)"},
     "minimize cross_entropy(net(x), label) over net "
     "with adam(lr = 0.1 * cosine(progress)) clip 5"),
    ({"loss": "nn.MSELoss()(net(x), label)"}, "mean((net(x) - onehot(label))^2)"),
    ({"loss": "keras.losses.categorical_crossentropy(label, net(x))"},
     "cross_entropy(net(x), label)"),
    ({"watch": "accuracy_score(label, net(x))"}, "argmax(net(x)) == label"),
]  # fmt: skip
TOLD = [
    ({"h": "np.linalg.svd(x)"}, "there is no decomposition of matrices"),
    ({"h": "x -> nn.GroupNorm(1, 1)"}, "it is an equation"),
    ({"h": "x -> nn.LSTM(784, 32, num_layers=2)"}, "layers stand one after another"),
    ({"h": "x -> nn.Linear(784, 32, bias=False)"}, "y = W @ x"),
    ({"h": "x -> dense(32, act = hard_tanh)"}, "max(min(a, 1), -1)"),
    ({"opt": "optax.adamax(1e-3)"}, "an optimiser of one's own"),
    ({"opt": "sgd(lr = StepLR(0.1, 10))"}, "progress"),
    ({"loss": "nn.CTCLoss()(net(x), label)"}, "there is no CTC"),
    ({"watch": "roc_curve(label, net(x))"}, "auc(s, t)"),
    ({"h": "torch.quantile(x, 0.5)"}, "nothing is sorted"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "said"), MENDED)
def test_a_call_is_written_as_here(at: dict[str, str], said: str) -> None:
    problem = first(spec(**at))
    assert problem.remedy == said
    found = remedies.edit(problem)
    assert found is not None
    dln.load(found.changed)


@pytest.mark.parametrize(("at", "said"), TOLD)
def test_what_there_is_none_of_is_said(at: dict[str, str], said: str) -> None:
    problem = first(spec(**at))
    assert said in str(problem) and not problem.remedy


def test_a_size_by_its_place_is_warned_of_behind_a_name_too() -> None:
    text = """
    const V = 5
    block f(c: class(V)) -> y[2]: logit { y = c -> embedding(V, EXTRA) -> dense(2) }
    let net = f()
    data d = given(c: class(5), label: class(2))
    train t on d for 1 epoch {
      minimize cross_entropy(net(c), label) over net with sgd(lr = 0.1)
    }
    """
    data = {"d": ([0, 1], [0, 1])}
    found = [dln.load(text.replace("EXTRA", n), data=data).model.warnings for n in ("32", "2")]
    assert [[w.code for w in each] for each in found] == [["W318"], []]
