"""Estimators of scikit-learn around specs. The oracles are scikit-learn's own checks of estimators,
the session of dln by hand, and its MLPClassifier.

scikit-learn takes a while to import: what is tested imports it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any
from unittest import SkipTest

import numpy as np
import pytest

import dln
from dln.grammar.diagnostics import DlnError

TRAIN = """train fit on d batch all for 30 epochs {{
  minimize weight * {} over {} with adam(lr = 0.1)
}}
"""
TINY = {
    "DlnClassifier": "data d = given(x[n], label: class(k), weight)\nlet net = dense(k)\n"
    + TRAIN.format("cross_entropy(net(x), label)", "net"),
    "DlnRegressor": "data d = given(x[n], y[m], weight)\nlet net = dense(m)\n"
    + TRAIN.format("sum((net(x) - y)^2)", "net"),
    "DlnTransformer": "data d = given(x[n], weight)\nlet f = dense(2)\nlet g = dense(n)\n"
    + TRAIN.format("sum((g(f(x)) - x)^2)", "f, g"),
}


def checked(estimator: Any) -> int:
    """How many of the checks of scikit-learn an estimator passes; all that there are."""
    from sklearn.utils.estimator_checks import estimator_checks_generator

    passed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one, check in estimator_checks_generator(estimator, mark=None):
            try:
                check(one)
                passed += 1
            except SkipTest as reason:  # arrays of other libraries than NumPy
                assert "rray" in str(reason)
    return passed


@pytest.mark.parametrize("name", TINY)
def test_scikit_learn_finds_nothing_to_object_to(name: str) -> None:
    import dln.sklearn

    assert checked(getattr(dln.sklearn, name)(TINY[name])) > 50


# ---- what comes out is dln's own ---------------------------------------------------------------

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 4)) + 2.0 * (np.arange(24) % 3)[:, None]
Y = np.array(["c", "a", "b"])[np.arange(24) % 3]
NET = """const hidden = 5, epochs = 4
data d = given(x[n], label: class(k), weight)
block net(x[n]) -> z[k] {
  z = x -> dense(hidden, act = tanh) -> dense(k)
}
let f = net(;k = k)
let g = dense(2)
train fit on d batch 8 for epochs epochs {
  z = f(x)
  minimize weight * cross_entropy(z, label) + 0.01 * sum(g(x)^2) over f, g with adam(lr = 0.05)
}
""".replace("net(x[n])", "net(x[n]; k)").replace("net(;k = k)", "net(k)")


def by_hand(text: str, data: Any, seed: int = 0, **constants: Any) -> Any:
    """A session trained on arrays, with the seed that an estimator draws of a `random_state`."""
    seed = int(np.random.RandomState(seed).randint(2**31 - 1))
    session = dln.load(text, **constants).compile(dtype="float64").session(seed=seed)
    session.train(data={"d": data})
    return session


def test_a_classifier_gives_what_the_session_gives() -> None:
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError

    from dln.sklearn import DlnClassifier

    made = DlnClassifier(NET, hidden=6, random_state=0)
    assert made.get_params()["hidden"] == 6 and "hidden=6" in repr(made)
    weight = 1.0 + np.arange(24) % 2
    fitted = clone(made).fit(X, Y, weight)
    codes = np.searchsorted(["a", "b", "c"], Y)
    session = by_hand(NET, (X, codes, weight / 1.5), n=4, k=3, hidden=6)
    assert fitted.n_features_in_ == 4 and list(fitted.classes_) == ["a", "b", "c"]
    z = session.f(X)
    np.testing.assert_array_equal(fitted.decision_function(X), z)
    shares = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_proba(X), shares, rtol=1e-14)
    np.testing.assert_array_equal(fitted.predict(X), np.array(["a", "b", "c"])[z.argmax(1)])
    with pytest.raises(NotFittedError):
        made.predict(X)


def test_a_fitted_estimator_pickles_as_text_and_arrays() -> None:
    import pickle
    import pickletools

    from dln.sklearn import DlnClassifier

    fitted = DlnClassifier(NET, random_state=1).fit(X, Y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    for one in (fitted, pickle.loads(pickle.dumps(again))):  # of what has not been used either
        one.partial_fit(X, Y).partial_fit(X[:5], Y[:5])
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(again)).partial_fit(X, Y).partial_fit(X[:5], Y[:5])
        .decision_function(X), fitted.decision_function(X))  # fmt: skip
    held = {word for _, word, _ in pickletools.genops(pickle.dumps(fitted)) if word}
    assert [w for w in held if str(w).startswith("dln")] == ["dln.sklearn.estimators"]


def test_constants_are_searched_in_a_pipeline_with_names_of_features() -> None:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from dln.sklearn import DlnClassifier, DlnTransformer

    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("pqrs"))
    steps = make_pipeline(StandardScaler(), DlnClassifier(NET, random_state=0))
    search = GridSearchCV(steps, {"dlnclassifier__epochs": [1, 40]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"dlnclassifier__epochs": 40} and search.best_score_ > 0.6
    codes = DlnTransformer(TINY["DlnTransformer"], random_state=0).fit(frame)
    assert list(codes.feature_names_in_) == list("pqrs")
    assert list(codes.get_feature_names_out()) == ["dlntransformer0", "dlntransformer1"]
    session = by_hand(TINY["DlnTransformer"], (X, np.ones(24)), n=4)
    np.testing.assert_array_equal(codes.transform(frame), session.f(X))
    with pytest.raises(ValueError, match="feature names"):
        codes.transform(frame[["q", "p", "r", "s"]])


def test_a_body_is_worked_out_for_predictions_with_what_was_measured_in_training() -> None:
    import pickle

    from dln.sklearn import DlnRegressor

    text = """data d = given(a[n], t) {
  x[4] = standardised(raw.a)
  split fit 0.75, valid 0.25
}
let net = dense(1)
train fit on d.fit batch 6 for 20 epochs {
  minimize (net(x)[0] - t)^2 over net with sgd(lr = 0.1)
}
"""
    t = X @ [1, -2, 0.5, 3]
    fitted = DlnRegressor(text, random_state=0).fit(X, t)
    scaled = (X - X[:18].mean(0)) / X[:18].std(0)
    w, b = fitted.session_.params["net.W"], fitted.session_.params["net.b"]
    for one in (fitted, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_allclose(one.predict(X[:1]), (scaled @ w.T + b)[:1, 0], rtol=1e-12)
    assert fitted.score(X, t) > 0.99


def test_a_machine_gives_its_hidden_units_and_classes_may_be_left_open() -> None:
    from dln.sklearn import DlnClassifier, DlnTransformer

    text = """data d = given(v[n]: prob)
let R = rbm(3)
train fit on d batch 4 for 2 epochs {
  minimize cd(R, v, k = 1) over R with sgd(lr = 0.1)
}
"""
    v = (X > 1).astype(float)
    codes = DlnTransformer(text, random_state=0).fit(v)
    np.testing.assert_array_equal(codes.transform(v), codes.session_.R.up(v))
    text = TINY["DlnClassifier"].replace("class(k)", "class").replace("dense(k)", "dense(3)")
    text = text.replace("weight)", "weight) {\n  split fit 0.8, valid 0.2\n}")
    text = text.replace("d batch", "d.fit batch")
    assert DlnClassifier(text, random_state=0).fit(X, Y).score(X, Y) > 0.5


NAMED = TINY["DlnClassifier"].replace("class(k)", 'class("b", "d", "a")').replace("(k)", "(3)")


def test_classes_that_a_spec_names_keep_its_order() -> None:
    import pickle

    from dln.sklearn import DlnClassifier

    kinds = np.where(Y == "c", "d", Y)
    fitted = DlnClassifier(NAMED, random_state=0).fit(X, kinds)
    assert list(fitted.classes_) == ["a", "b", "d"]
    z = by_hand(NAMED, {"x": X, "label": kinds, "weight": np.ones(24)}, n=4).net(X)
    np.testing.assert_array_equal(fitted.decision_function(X), z[:, [2, 0, 1]])
    again = pickle.loads(pickle.dumps(fitted)).partial_fit(X, kinds)
    assert again.score(X, kinds) > 0.5


def test_a_spec_without_weights_has_no_parameter_for_them() -> None:
    from sklearn.ensemble import BaggingClassifier
    from sklearn.utils.validation import has_fit_parameter

    from dln.sklearn import DlnClassifier

    text = TINY["DlnClassifier"].replace("weight * ", "").replace(", weight", "")
    plain, weighed = DlnClassifier(text, random_state=0), DlnClassifier(NET)
    assert not has_fit_parameter(plain, "sample_weight")
    assert has_fit_parameter(weighed, "sample_weight")
    assert BaggingClassifier(plain, n_estimators=2, random_state=0).fit(X, Y).score(X, Y) > 0.5
    with pytest.raises(ValueError, match="E592"):
        plain.partial_fit(X, Y, sample_weight=np.ones(24))


# ---- what is refused ---------------------------------------------------------------------------

TINY_NET = TINY["DlnClassifier"]
OTHER = """data e = synthetic("gaussians", classes = 3, dim = 4, count = 9) {
  x[4] = raw.x
  label: class(3) = raw.label
  weight = 1
}
"""


@pytest.mark.parametrize(
    ("words", "old", "new"),
    [
        ("several sets: d, e", "let net", "data e = given() like d\nlet net"),
        ("no field of one class", "label: class(k)", "label"),
        ("hands X to one field, and d has x, u", "x[n]", "x[n], u[n]"),
        ("label has 5 classes, and y has 3", "class(k)", "class(5)"),
        ("x[3] of d cannot take 4 numbers", "x[n]", "x[3]"),
        ("gives the shape [2]", "dense(k)|cross_entropy(net(x), label)", "dense(2)|sum(net(x)^2)"),
        ("gives any numbers", "cross_entropy(net(x), label)", "sum((net(x) - onehot(label))^2)"),
        ("more than instances one after another", "net(x)", "net(2 * x)"),
        ("no phase learns from d", "on d", "on e"),
        ("no field for it", ", weight", ""),
        ("no phase reads weight", "weight * ", ""),
    ],
)
def test_what_a_classifier_cannot_be_made_of_is_told(words: str, old: str, new: str) -> None:
    from dln.sklearn import DlnClassifier

    text = TINY_NET
    for before, after in zip(old.split("|"), new.split("|"), strict=True):
        text = text.replace(before, after)
    if new == "on e":
        text = text.replace("let net", f"{OTHER}let net")
    if not new:
        text = text.replace("weight * ", "")
    with pytest.raises(DlnError) as e:
        DlnClassifier(text).fit(X, Y, np.ones(24))
    assert words in str(e.value) and len(e.value.problems) == 1
    assert e.value.problems[0].code in ("E591", "E592") and e.value.problems[0].span
    assert e.value.problems[0].remedy


def test_what_else_is_refused() -> None:
    from dln.sklearn import DlnClassifier, DlnRegressor, DlnTransformer

    clocked = TINY_NET.replace("lr = 0.1", "lr = 0.1 * (1 - progress)")
    square = TINY["DlnRegressor"].replace("y[m]", "y").replace("dense(m)", "dense(2)")
    made = TINY["DlnRegressor"].replace("weight)", "weight) {\n  t[m] = raw.y / 2\n}")
    made = made.replace("- y", "- t")
    alone = TINY["DlnTransformer"].replace("g(f(x))", "f(x)[0]").replace("f, g", "f")
    numbers = X[:, 0]
    refusals: list[tuple[str, Callable[[], Any]]] = [
        ("does not know how many examples", lambda: DlnClassifier(clocked).partial_fit(X, Y)),
        ("there is no instance nett", lambda: DlnClassifier(TINY_NET, instance="nett").fit(X, Y)),
        ("there is no phase ft", lambda: DlnClassifier(TINY_NET, phase="ft").fit(X, Y)),
        ("no constant hiden", lambda: DlnClassifier(NET, hiden=3).fit(X, Y)),
        ("phase must be a name", lambda: DlnClassifier(TINY_NET, phase=3).fit(X, Y)),
        ("number for each of 1 in y", lambda: DlnRegressor(square).fit(X, numbers)),
        ("would not be y", lambda: DlnRegressor(made).fit(X, numbers)),
        ("numbers, and label of d is a class", lambda: DlnRegressor(TINY_NET).fit(X, numbers)),
        ("and the loss has none", lambda: DlnTransformer(alone).fit(X)),
        ("the class c, which the spec does not name", lambda: DlnClassifier(NAMED).fit(X, Y)),
    ]
    for words, call in refusals:
        with pytest.raises(DlnError, match=words):
            call()
    refusals = [
        ("name all classes", lambda: DlnClassifier(TINY_NET).partial_fit(X, ["a"] * 24)),
        ("Invalid parameter 'a__b'", lambda: DlnClassifier(TINY_NET).set_params(a__b=1)),
    ]
    for words, call in refusals:
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.slow
def test_the_specs_that_come_with_it_pass_and_learn_as_scikit_learn_does() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier

    import dln.sklearn

    for name in TINY:
        assert checked(getattr(dln.sklearn, name)()) > 50
    digits, kinds = load_digits(return_X_y=True)
    a, b, s, t = train_test_split(digits / 16, kinds, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MLPClassifier(max_iter=60, random_state=0).fit(a, s).score(b, t)
    ours = dln.sklearn.DlnClassifier(epochs=60, random_state=0).fit(a, s).score(b, t)
    assert ours > 0.96 and ours > theirs - 0.015


# ---- inside of an instance, and many examples --------------------------------------------------

INSIDE = """data d = given(x[n])
block whole(x[n]) -> y[n] {
  let enc = dense(3)
  let two = chain([dense(3), dense(2)])
  h = x -> dense(5, act = tanh) -> dense(2)
  g = h -> enc
  q = g -> two
  y = g -> dense(n)
}
let net = whole()
train fit on d batch 8 for 1 epoch {
  minimize sum((net(x) - x)^2) + sum(net.q^2) over net with adam(lr = 0.05)
}
"""


def test_a_value_inside_of_an_instance_makes_codes() -> None:
    """Equations by their names, inner instances and chains by what they give."""
    import pickle

    from dln.sklearn import DlnTransformer

    for name in ("net.h", "net.two"):
        made = DlnTransformer(INSIDE, instance=name, random_state=0).fit(X)
        w = {k: np.array(a) for k, a in made.session_.params.items()}

        def dense(x: Any, path: str, w: Any = w) -> Any:
            return x @ w[f"{path}.W"].T + w[f"{path}.b"]

        h = dense(np.tanh(dense(X, "net.h[0]")), "net.h[1]")
        first = dense(dense(h, "net.enc"), "net.two[0]")
        hand = {"net.h": h, "net.two": dense(first, "net.two[1]")}
        np.testing.assert_allclose(made.transform(X), hand[name], rtol=1e-12, atol=1e-14)
    again = pickle.loads(pickle.dumps(made))
    assert again.spec == INSIDE and (again.transform(X) == made.transform(X)).all()
    for name, said in (("net.k", "net.k gives no codes: net has no part k"),
                       ("net.enc.W", "is the same for all examples")):  # fmt: skip
        with pytest.raises(dln.DlnError, match=said):
            DlnTransformer(INSIDE, instance=name).fit(X)


def test_many_examples_go_through_in_pieces_with_the_bits_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dln.runtime.session import Session
    from dln.sklearn import DlnClassifier

    apply, sizes = Session.apply, list[int]()
    monkeypatch.setattr(Session, "apply", lambda s, p, x: sizes.append(len(x)) or apply(s, p, x))
    many = RNG.normal(size=(3 * 6144 + 3, 4))
    for dtype in ("float32", "float64"):
        made = DlnClassifier(NET, random_state=0, dtype=dtype, hidden=30, epochs=1).fit(X, Y)
        whole = made.session_.f(many)
        sizes.clear()
        np.testing.assert_array_equal(made.decision_function(many), whole)
        assert sizes == [6144, 6144, 6147]
