"""Estimators of scikit-learn made of specs, `pip install "dln[sklearn]"`: a classifier, a regressor
and a transformer, whose data set is `given(...)`."""

from dln.grammar.diagnostics import Fault

try:
    from sklearn.utils.validation import validate_data as validate_data
except ImportError:
    text = "dln.sklearn makes estimators of scikit-learn from 1.6 on, which is not installed"
    remedy = 'pip install "dln[sklearn]", or pip install scikit-learn'
    raise Fault(text, remedy, "E590").at(None) from None

from dln.sklearn.estimators import DlnClassifier as DlnClassifier
from dln.sklearn.estimators import DlnRegressor as DlnRegressor
from dln.sklearn.estimators import DlnTransformer as DlnTransformer

__all__ = ["DlnClassifier", "DlnRegressor", "DlnTransformer"]
