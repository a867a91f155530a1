"""The support vector machine of the lecture's table of MNIST errors, by scikit-learn.

    python benchmarks/svm.py [docs/results]

Prints its error, and enters it into the record `svm.json` of the folder: `dln results --table`
then has it on its page. A quarter of an hour; needs `pip install 'dln[results]'`.

A polynomial kernel of degree 9 on images scaled to length 1, K(u, v) = ((1 + u . v) / 2)^9, C = 2,
after DeCoste and Schölkopf 2002, without their virtual examples. With 10,000 images to learn from
and 5,000 others to choose by, it errs in 2.84 %, as it does with C = 20; images that keep their
lengths give 4.4 % or more. It is no network, so it is no spec.
"""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.svm import SVC

from dln.compiler.plan import DataSource
from dln.results import records
from dln.runtime.readers.readers import read

TITLE = "test error of a polynomial support vector machine, in percent"
SETTINGS = "degree 9, gamma 0.5, coef0 0.5, C 2, images of length 1"
PUBLISHED, WITHIN = 1.4, 0.1
CACHE = 2000  # megabytes for rows of the kernel


def measured(limit: int | None = None) -> tuple[dict[str, Any], float]:
    """The figure, as a run of a spec gives it, and the seconds it took; `limit` examples each."""
    machine = SVC(kernel="poly", degree=9, gamma=0.5, coef0=0.5, C=2, cache_size=CACHE)
    start = perf_counter()
    machine.fit(*_images("train", limit))
    x, label = _images("t10k", limit)
    error = 100 * float((machine.predict(x) != label).mean())
    passed = limit is None and abs(error - PUBLISHED) <= WITHIN
    status = "passed" if passed else "failed" if limit is None else "not run"
    figure = {"expect": "error == 1.4 within 0.1", "op": "==", "status": status, "value": error,
              "expected": PUBLISHED, "within": WITHIN, "reason": ""}  # fmt: skip
    return figure, perf_counter() - start


def _images(which: str, limit: int | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images as rows of length 1, and their labels."""
    names = (f"{which}-images-idx3-ubyte", f"{which}-labels-idx1-ubyte")
    fields = read(DataSource("idx", names, {}, "."))
    [image] = [a for a in fields.values() if a.ndim == 3]
    [label] = [a for a in fields.values() if a.ndim == 1]
    x = image[:limit].reshape(-1, 28 * 28) / 255
    return x / np.linalg.norm(x, axis=1, keepdims=True), label[:limit]


def enter(folder: Path, figure: dict[str, Any], seconds: float) -> None:
    """Enter the figure into its record, as if it were that of a phase."""
    record = records.read(folder, "svm")
    check = {"text": TITLE, **figure, "phases": ["fit"]}
    phases = {"fit": {"seconds": seconds, "after": []}}
    run = records.provenance(SETTINGS, 0, seconds, "numpy", "")
    record.take_run({"checks": [check], "phases": phases}, run)
    records.save(folder, record)


def main() -> None:
    print("svm: 60,000 images, some minutes")
    figure, seconds = measured()
    enter(Path(sys.argv[1] if sys.argv[1:] else "docs/results"), figure, seconds)
    print(f"svm: {figure['value']:.2f} % wrong, {seconds:.0f} s")


if __name__ == "__main__":
    main()
