"""The estimators: a classifier, a regressor, a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from dln.grammar.diagnostics import DlnError
from dln.sklearn import defaults
from dln.sklearn.base import SpecEstimator, Weighing
from dln.sklearn.network import Network

Array = NDArray[Any]


class DlnClassifier(ClassifierMixin, SpecEstimator):  # type: ignore[misc]
    """A classifier around a spec with `given(x[n], label: class(k))`, whose loss takes scores
    (`cross_entropy`) or probabilities of the classes: `DlnClassifier(hidden=20, random_state=0)`.
    """

    _kind = "classifier"

    def __init__(
        self, spec: Any = defaults.CLASSIFIER, phase: Any = None, instance: Any = None,
        dtype: Any = "float64", random_state: Any = None, **constants: Any,
    ) -> None:  # fmt: skip
        self._take(spec, phase, instance, dtype, random_state, constants)

    @Weighing
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DlnClassifier:
        """Train the spec on X [example, numbers] and y [example], classes of any kind.

        Raises `DlnError` E591 where the spec is no classifier's, E592 for weights that it has no
        field for, `ValueError` for arrays that scikit-learn refuses.
        """
        X, y = validate_data(self, X, y)
        y, labels = self._labels(y)
        weight, kept = self._weighed(X, sample_weight)
        if len(np.unique(y[kept])) < 2:
            raise ValueError("DlnClassifier needs more than one class, and y has one class")
        network = self._made(X.shape[1], labels)
        network.train(network.fields(X[kept], y[kept], weight))
        self.classes_, self._network = labels, network
        return self

    @Weighing
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> DlnClassifier:
        """One update of the phase on X [example, numbers] and y [example]; the first call names all
        `classes` where y has not all of them. Raises what `fit` raises."""
        first = not self.__sklearn_is_fitted__()
        X, y = validate_data(self, X, y, reset=first)
        if first:
            labels = self._labels(y if classes is None else np.asarray(classes))[1]
            if len(labels) < 2:
                raise ValueError(
                    "name all classes: partial_fit(X, y, classes=...); y has one class"
                )
            network = self._made(X.shape[1], labels)
        else:
            labels, network = self.classes_, self._trained
        y = column_or_1d(y, warn=True)
        if not np.isin(y, labels).all():
            strange = y[~np.isin(y, labels)][0]
            raise ValueError(f"y has the class {strange!s}, which is none of {labels.tolist()}")
        weight, kept = self._weighed(X, sample_weight)
        codes = np.searchsorted(labels, y)
        network.step(network.fields(X[kept], codes[kept], weight))
        self.classes_, self._network = labels, network
        return self

    def _labels(self, y: Array) -> tuple[Array, Array]:
        """y [example] as numbers of classes, and the classes [class] in order."""
        check_classification_targets(y)
        labels, codes = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        return codes, labels

    def decision_function(self, X: Any) -> Array:
        """What the net gives for each class [example, class], in the order of `classes_`; of two
        classes the second less the first [example]."""
        found = self._given(X)
        return found if len(self.classes_) > 2 else found[:, 1] - found[:, 0]

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class [example, class], in the order of `classes_`."""
        found = self._given(X)
        if not self._trained.probabilities:
            found = np.exp(found - found.max(1, keepdims=True))
        shares: Array = found / found.sum(1, keepdims=True)
        return shares

    def predict(self, X: Any) -> Array:
        """The most probable class of each example [example]."""
        best = self._given(X).argmax(1)
        found: Array = self.classes_[best]
        return found


class DlnRegressor(RegressorMixin, SpecEstimator):  # type: ignore[misc]
    """A regressor around a spec with `given(x[n], y)`, or `y[m]` of several numbers, whose loss
    takes what a net gives for x."""

    _kind = "regressor"

    def __init__(
        self, spec: Any = defaults.REGRESSOR, phase: Any = None, instance: Any = None,
        dtype: Any = "float64", random_state: Any = None, **constants: Any,
    ) -> None:  # fmt: skip
        self._take(spec, phase, instance, dtype, random_state, constants)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        try:
            target = self._columns().target
            tags.target_tags.multi_output = target is not None and bool(target.shape)
        except DlnError:  # said by `fit`
            pass
        return tags

    @Weighing
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> DlnRegressor:
        """Train the spec on X [example, numbers] and y [example] or [example, numbers].

        Raises `DlnError` E591 where the spec is no regressor's, E592 for weights that it has no
        field for, `ValueError` for arrays that scikit-learn refuses.
        """
        X, y = self._both(X, y, True)
        weight, kept = self._weighed(X, sample_weight)
        network = self._made(X.shape[1], None, y[0].size)
        network.train(network.fields(X[kept], y[kept], weight))
        self._outputs, self._network = y.shape[1:], network
        return self

    @Weighing
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> DlnRegressor:
        """One update of the phase on X [example, numbers] and y [example, ...]. Raises what `fit`
        raises."""
        first = not self.__sklearn_is_fitted__()
        X, y = self._both(X, y, first)
        network = self._made(X.shape[1], None, y[0].size) if first else self._trained
        weight, kept = self._weighed(X, sample_weight)
        network.step(network.fields(X[kept], y[kept], weight))
        self._outputs, self._network = y.shape[1:], network
        return self

    def _both(self, X: Any, y: Any, first: bool) -> tuple[Array, Array]:
        """X [example, numbers] and y [example, ...] as arrays of numbers."""
        several = self.__sklearn_tags__().target_tags.multi_output
        X, y = validate_data(self, X, y, y_numeric=True, multi_output=several, reset=first)
        return X, y if several else column_or_1d(y, warn=True)

    def predict(self, X: Any) -> Array:
        """What the net gives for each example, of the shape of y."""
        found = self._given(X)
        return found.reshape(len(found), *self._outputs)


class DlnTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SpecEstimator):  # type: ignore[misc]
    """A transformer around a spec with `given(x[n])`: the codes of `decode(encode(x))`, or the
    hidden units of a machine."""

    _kind = "transformer"

    def __init__(
        self, spec: Any = defaults.TRANSFORMER, phase: Any = None, instance: Any = None,
        dtype: Any = "float64", random_state: Any = None, **constants: Any,
    ) -> None:  # fmt: skip
        self._take(spec, phase, instance, dtype, random_state, constants)

    @Weighing
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> DlnTransformer:
        """Train the spec on X [example, numbers], with classes y [example] where it learns them.

        Raises `DlnError` E591 where the spec is no transformer's, E592 for weights that it has no
        field for, `ValueError` for arrays that scikit-learn refuses.
        """
        return self._learnt(X, y, sample_weight, True)

    @Weighing
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> DlnTransformer:
        """One update of the phase on X [example, numbers]. Raises what `fit` raises."""
        return self._learnt(X, y, sample_weight, False)

    def _learnt(self, X: Any, y: Any, sample_weight: Any, whole: bool) -> DlnTransformer:
        first = whole or not self.__sklearn_is_fitted__()
        codes, labels = None, None
        if self._columns().target is None:
            X = validate_data(self, X, reset=first)
        else:
            X, y = validate_data(self, X, y, reset=first)
            labels, codes = np.unique(y, return_inverse=True)
        weight, kept = self._weighed(X, sample_weight)
        network: Network = self._made(X.shape[1], labels) if first else self._trained
        fields = network.fields(X[kept], None if codes is None else codes[kept], weight)
        if whole:
            network.train(fields)
        else:
            network.step(fields)
        self._network = network
        return self

    @property
    def _n_features_out(self) -> int:
        return self._trained.apply(np.zeros((1, self.n_features_in_))).size

    def transform(self, X: Any) -> Array:
        """The codes of X [example, numbers]: [example, codes]."""
        found = self._given(X)
        return found.reshape(len(found), -1)
