"""What all estimators of scikit-learn around a spec have: parameters, fitting, pickling."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from dln.compiler.schema import arguments
from dln.grammar.diagnostics import DlnError
from dln.runtime.session import Session
from dln.sklearn.columns import columns_of, source_of
from dln.sklearn.network import Fitting, Network, refuse_weights, unpacked

Array = NDArray[Any]


class Weighing:
    """A method that takes `sample_weight`, and says so where the spec has a field for weights:
    scikit-learn hands weights to whatever has a parameter for them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __get__(self, one: SpecEstimator | None, owner: type) -> Any:
        bound = self.function.__get__(one, owner)
        if one is None or one.takes_weights:
            return bound

        @wraps(self.function)
        def unweighed(*args: Any, **named: Any) -> Any:
            return bound(*args, **named)

        said = signature(bound)
        left = [p for name, p in said.parameters.items() if name != "sample_weight"]
        vars(unweighed)["__signature__"] = said.replace(parameters=left)
        return unweighed


class SpecEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator around a spec: its text, a path, or the name of a shipped one.

    `phase` is the phase to train, or a list of such, in place of all; `instance` the net whose
    value is given, in place of the one in the loss; `dtype` the precision, None for the spec's own;
    `random_state` decides every draw and order. All else are constants of the spec.
    """

    _kind: ClassVar[str]
    _network: Network | None

    def _take(
        self, spec: Any, phase: Any, instance: Any, dtype: Any, random_state: Any, constants: Any
    ) -> None:
        self.spec, self.phase, self.instance = spec, phase, instance
        self.dtype, self.random_state, self._constants = dtype, random_state, constants

    # ---- parameters ----------------------------------------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, and the constants that were given."""
        return {**super().get_params(deep), **self._constants}

    def set_params(self, **params: Any) -> Any:
        """Set parameters and constants of the spec, which sees at `fit` whether there are such."""
        own = self._get_param_names()
        super().set_params(**{k: v for k, v in params.items() if k in own})
        constants = {k: v for k, v in params.items() if k not in own}
        if nested := [name for name in constants if "__" in name]:
            raise ValueError(f"Invalid parameter {nested[0]!r} for estimator {self}.")
        if constants:
            self._constants = {**self._constants, **constants}
        return self

    def _columns(self) -> Any:
        return columns_of(source_of(self.spec), self._constants, self._kind)

    @property
    def takes_weights(self) -> bool:
        """Whether the spec has a field for weights; also of one that cannot be read."""
        try:
            return self._columns().weight is not None
        except DlnError:  # said by `fit`
            return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self._kind != "transformer":
            return tags
        try:
            tags.target_tags.required = self._columns().target is not None
        except DlnError:  # said by `fit`
            pass
        return tags

    # ---- fitting -------------------------------------------------------------------------------

    def _made(self, features: int, labels: Array | None, outputs: int = 1) -> Network:
        """The network for the sizes of arrays, and the `labels` of classes [class], with its first
        parameters."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        phases = self.phase
        if phases is None or isinstance(phases, str):
            phases = () if phases is None else (phases,)
        elif not isinstance(phases, list | tuple) or not all(isinstance(p, str) for p in phases):
            arguments.refuse(f"phase must be a name, or a list, not {arguments.shown(phases)}")
        if not isinstance(self.instance, str | None):
            arguments.refuse(f"instance must be a name, not {arguments.shown(self.instance)}")
        given = {k: arguments.constant(k, v) for k, v in self._constants.items()}
        asked = Fitting(
            self._kind, source_of(self.spec), given, tuple(phases), self.instance or "",
            self.dtype, seed, features, None if labels is None else len(labels), outputs,
            () if labels is None else tuple(map(str, labels)),
        )  # fmt: skip
        return Network(asked)

    def _weighed(self, x: Array, weight: Any) -> tuple[Array | None, Array]:
        """The weights [example] with the mean 1, and which examples have one that is not 0."""
        every = np.ones(len(x), bool)
        if weight is None:
            return None, every
        asked = self._columns()
        if asked.weight is None:
            refuse_weights(asked)
        found = _check_sample_weight(weight, x, dtype=np.float64, ensure_non_negative=True)
        if not found.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        kept = found > 0
        return found[kept] / found[kept].mean(), kept

    def _checked(self, x: Any) -> Array:
        """X as an array [example, numbers], of as many as `fit` was given."""
        check_is_fitted(self)
        found: Array = validate_data(self, x, reset=False)
        return found

    def _given(self, x: Any) -> Array:
        """What the net gives for X [example, numbers], in one array."""
        return self._trained.apply(self._checked(x))

    @property
    def _trained(self) -> Network:
        check_is_fitted(self)
        if self._network is None:
            self._network = unpacked(*self._packed)
        return self._network

    @property
    def session_(self) -> Session:
        """The session of dln that was trained."""
        return self._trained.session

    # ---- kept ----------------------------------------------------------------------------------

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def __getstate__(self) -> dict[str, Any]:
        """Plain values and arrays: the text of the spec in place of what was compiled of it."""
        state = dict(super().__getstate__())
        if isinstance(self.spec, Path):
            state["spec"] = str(self.spec)
        network = state.get("_network")
        if network is not None:
            state["_packed"], state["_network"] = network.packed(), None
        return state
