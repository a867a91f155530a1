"""Every code that the source can give has a message in a golden file, word for word.

What the parser and the front end say stands in `grammar/golden/` and `compiler/golden/`. The rest
is said by commands, by readers, by sessions: it is made here, and its text is in `golden/CODE.txt`,
written by the code (`DLN_GOLDEN=write pytest tests/messages/test_codes.py`) and then read.
"""

import gzip
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from onnx import TensorProto, helper

import dln
from dln import cli
from dln.compiler.frontend.tensors import axes
from dln.compiler.schema.keys import PhaseNumber, parse_clock
from dln.exporting.file import encoded
from dln.exporting.listing import OnnxModel
from dln.flags import read_flags
from dln.grammar.diagnostics import DlnError, Fault
from dln.grammar.parser import parse
from dln.importing.comparing import Compared
from dln.importing.spec_text import Written
from dln.printing.terminal import Terminal
from dln.reading.tables import check_tables
from dln.runtime.checkpoint import checkpoint, foreign
from dln.runtime.checkpoint.rundir import RunDirectory
from dln.runtime.device import gpu
from dln.runtime.execution.phase_result import number_of
from dln.runtime.footprint.refusing import Bounds, refuse
from dln.runtime.footprint.walk import AskedRun
from dln.runtime.gradcheck import gradcheck
from dln.runtime.ranks.exchange import Mpi, died
from dln.runtime.ranks.ranks import Alone, Elsewhere
from dln.runtime.readers.folders import pictures
from dln.runtime.training.shared.meeting import same_plan
from dln.settings import Settings
from dln.sweep import workers

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CODE = re.compile(r"[EW]\d{3}")
SHOWN = re.compile(r"(?:error|warning)\[([EW]\d{3})\]")

NET = """data d = rows([[1, 2], [3, 4], [5, 6]]) {
  x[1] = raw[:1]
  t = raw[1]
  split fit 2, valid 1
}
let net = dense(1)
train fit on d.fit batch 1 for 2 epochs {
  e = (net(x)[0] - t)^2
  minimize e over net with sgd(lr = 0.01)
  watch error = e on d.valid every 1 epoch
}
"""
SHARE = NET.replace("watch error = e", "watch error = e > 1")
LINE = "minimize e over net with sgd(lr = 0.01)"


def session(text: str = NET, dtype: str = "float64") -> Any:
    return dln.load(text).compile(dtype=dtype).session()


def data(text: str) -> Callable[[], object]:
    """Reading a data set of a spec in the working directory."""
    return lambda: dln.load(f"data d = {text} {{\n  x = raw\n}}\n")


def ran() -> None:
    """A run of NET in the folder `run`."""
    Path("net.dln").write_text(NET)
    assert cli.carried_out(["run", "net.dln", "--out", "run", "--quiet"]) == 0


def command(*words: str) -> Callable[[], object]:
    """A command, which says itself what is wrong."""
    return lambda: cli.carried_out(list(words))


def no_matplotlib() -> None:
    with mock.patch("dln.printing.pictures.available", lambda: False):
        command("draw", "hello", "--to", "net.png")()


def no_graphviz() -> None:
    with mock.patch("shutil.which", lambda _: None):
        command("draw", "hello", "--graphviz")()


def saved(change: Callable[[bytes], bytes]) -> None:
    checkpoint.save("a.safetensors", {"w": np.ones(3)}, {})
    path = Path("a.safetensors")
    path.write_bytes(change(path.read_bytes()))
    checkpoint.load(path)


def resumed() -> None:
    """The checkpoint of a run handed to one with another seed."""
    made = dln.load(NET).compile(dtype="float64")
    run = RunDirectory.create("net", "run")
    made.session().train(rundir=run)
    made.session(seed=1).train(resume=run.newest())


SWEPT = f"{NET}const n = 3\nsweep s {{\n  vary n in 1..2\n  report n\n}}\n"


def parts(change: Callable[[], object], *words: str) -> Callable[[], object]:
    """A part of a sweep in a directory to which something has been done since the first."""

    def run() -> None:
        written("net.dln", SWEPT)
        first = ["sweep", "net.dln", "--part", "1/2", "--out", "rows", "-q", "--json"]
        assert cli.carried_out(first) == 0
        change()
        cli.carried_out([*first[:6], *words])

    return run


def cut_short() -> None:
    path = Path("rows/rows/s-1.json")
    path.write_text(path.read_text()[:40])


def refused(path: str) -> Callable[[], object]:
    """A run whose directory cannot be made."""

    def run() -> None:
        written("net.dln", NET)
        written("file", "")
        cli.carried_out(["run", "net.dln", "--out", path])

    return run


def handed_table(text: str) -> Callable[[], object]:
    """A table in the place of what a set is handed."""

    def load() -> None:
        written("d.csv", text)
        written("d.dln", "data d = given(x[n], label: class)\nlet net = dense(2)\n")
        cli.carried_out(["check", "d.dln", "--data", "d=d.csv"])

    return load


def there() -> None:
    """A picture where a file is."""
    written("hello.svg", "mine")
    cli.carried_out(["draw", "hello"])


def other_seed() -> None:
    ran()
    cli.carried_out(["run", "--resume", "run", "--seed", "5"])


def twice() -> None:
    ran()
    cli.carried_out(["run", "net.dln", "--out", "run"])


def outside() -> None:
    written("net.dln", 'let a = 1\ntask t() {\n  emit [1, 2] to "../a.csv"\n}\n')
    cli.carried_out(["run", "net.dln", "--out", "run"])


def matrix_refused() -> None:
    """What an operation refuses without a code of its own."""

    def refuse(*_: object) -> None:
        raise Fault("no matrix", "a matrix")

    with mock.patch.object(axes, "transpose", refuse):
        dln.load("let a = [[1]]'\n\n")


TABLE = """
data d = table("d.csv") {
  x[2] = [raw.length, raw.day - 20500]
  sort: class = raw.sort
}
data other = rows([[1, 2, 3]]) {
  r[3] = raw
}
let net = dense(2)
let scaled = dense(2)
train fit on d batch all for 1 update {
  minimize cross_entropy(net(x), sort) over net with sgd(lr = 0.1)
}
train tenth on d batch all for 1 update {
  minimize cross_entropy(scaled(x / 10), sort) over scaled with sgd(lr = 0.1)
}
"""
GOOD = "name,length,day\nA,1.5,2026-05-01\n"


def applied(net: str, text: str, *more: str) -> Callable[[], object]:
    """New data through a run; none where there is no text."""

    def run() -> None:
        written("d.dln", TABLE)
        written("d.csv", "length,day,sort\n1,2026-01-01,a\n2,2026-01-02,b\n")
        assert cli.carried_out(["run", "d.dln", "--out", "run", "--quiet"]) == 0
        written("new.csv", text) if text else None
        cli.carried_out(["apply", "run", net, "--data", "new.csv", *more])

    return run


def early() -> None:
    """A run of which nothing was saved yet."""
    ran()
    os.rename("run", "early")
    for path in Path("early/checkpoints").iterdir():
        path.unlink()
    log = [line for line in Path("early/log.jsonl").read_text().split("\n") if '"run"' in line]
    Path("early/log.jsonl").write_text(log[0] + "\n")
    cli.carried_out(["apply", "early", "net", "--data", "new.csv"])


def killed() -> None:
    """A sweep of which a process is killed from outside."""
    error = import_module("joblib.externals.loky.process_executor").TerminatedWorkerError
    found = (one for one in map(mock.Mock(side_effect=error("killed")), "a"))
    with mock.patch("joblib.Parallel.__call__", return_value=found):
        list(workers.side_by_side([], Settings(), 2))


def no_cupy() -> None:
    missing = ModuleNotFoundError("no cupy", name="cupy")
    with mock.patch.object(gpu, "import_module", side_effect=missing):
        gpu.open_gpu()


def no_gpu() -> None:
    raise gpu._no_gpu("")


def warned(text: str) -> Callable[[], object]:
    return lambda: dln.load(text).model.warnings


def sorted_table() -> object:
    written("sorted.csv", "1,0\n2,0\n3,0\n" * 4 + "4,1\n" * 9)
    text = 'data d = table("sorted.csv") {\n  x = raw[0]\n  label: class(2) = raw[1]\n'
    train = "train t on d.fit batch 2 for 1 epoch { watch m = x }\n"
    return tuple(check_tables(dln.load(f"{text}  split fit 0.8, valid 0.2\n}}\n{train}").model))


def written(name: str, text: bytes | str) -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def no_access() -> None:
    raise cli.refused(OSError(5, "Input/output error", "a.csv"))


def no_memory() -> None:
    with mock.patch.object(cli.cli, "main", side_effect=MemoryError):
        cli.carried_out(["check", "mlp"])


def link() -> None:
    """A link out of the folder of the spec."""
    Path("outside").mkdir()
    Path("in").mkdir()
    written("outside/a.csv", "1,2\n")
    Path("in/a.csv").symlink_to(Path("outside/a.csv").resolve())
    written("in/net.dln", 'data d = table("a.csv") {\n  x = raw[0]\n}\n')
    dln.load("in/net.dln")


def idx(name: str, count: int) -> None:
    head = b"\0\0\x08\x01" + count.to_bytes(4, "big")
    written(name, gzip.compress(head + bytes(count)))


def two_sets() -> None:
    idx("a.gz", 3)
    idx("b.gz", 2)
    beside('idx("a.gz", "b.gz")')


def no_idx() -> None:
    written("a.gz", gzip.compress(b"1,2,3"))
    beside('idx("a.gz")')


def descending() -> None:
    descent = NET.replace("batch 1", "batch all shards 2").replace("sgd(lr = 0.01)", "lbfgs()")
    written("net.dln", descent)
    command("emit", "net.dln")()


def without_onnx() -> None:
    with mock.patch("dln.exporting.file.find_spec", lambda _: None):
        command("emit", "mlp", "--to", "net.onnx")()


def large() -> None:
    made = OnnxModel("float64")
    made.arrays["W"] = np.broadcast_to(np.float32(0), (1 << 15, 1 << 15))
    with mock.patch("dln.exporting.file.find_spec", lambda _: ""):
        encoded(made, "net", "")


def drawn() -> None:
    block = "block noisy(x[2]) -> y[2] {\n  m ~ bernoulli(ones(2) / 2)\n  y = m * x\n}\n"
    applied = 'check "applied" {\n  expect shape(net([1, 2])) == [2]\n}\n'
    written("net.dln", f"{block}let net = noisy()\n{applied}")
    command("emit", "net.dln", "--to", "net.onnx")()


def no_file() -> None:
    Path("a.csv").symlink_to("nothing")
    beside('table("a.csv")')


def beside(reader: str) -> None:
    """A spec in the working directory, with a data set from a file beside it."""
    written("net.dln", f"data d = {reader} {{\n  x = raw\n}}\n")
    dln.load("net.dln")


def without_pillow() -> None:
    with mock.patch.dict("sys.modules", {"PIL.Image": None}):
        pictures.pillow()


def without_pyarrow() -> None:
    Path("a.parquet").write_bytes(b"PAR1")
    with mock.patch("dln.runtime.readers.table.parquet.find_spec", lambda name: None):
        data('table("a.parquet")')()


def without_scikit_learn() -> None:
    ours = {name for name in sys.modules if name.startswith("dln.sklearn")}
    with mock.patch.dict("sys.modules", {"sklearn.utils.validation": None}):
        for name in ours:
            del sys.modules[name]
        import_module("dln.sklearn")


def weights(name: str, data: bytes | None, chart: str | None = None) -> Callable[[], object]:
    """Weights out of a file, by a map."""

    def run() -> object:
        np.savez("a.npz", x=np.ones((3, 3)))
        if data is not None:
            Path(name).write_bytes(data)
        more = [] if chart is None else ["--map", str(written("map.csv", chart))]
        return command("import", "--weights", name, "--into", str(written("net.dln", NET)), *more)()

    return run


def without_scipy() -> None:
    with mock.patch.dict("sys.modules", {"scipy.io": None}):
        weights("a.mat", b"MATLAB")()


def estimator(**weights: object) -> Callable[[], object]:
    """A classifier around NET, or around what takes X and y but no weights."""
    text = "data d = given(x[n], label: class(k))\nlet net = dense(k)\n"
    text += "train fit on d batch 2 for 1 epoch {\n"
    text += "  minimize cross_entropy(net(x), label) over net with sgd(lr = 0.1)\n}\n"

    def fit() -> None:
        made = import_module("dln.sklearn").DlnClassifier(text if weights else NET)
        made.fit(np.ones((2, 1)), [0, 1], **weights)

    return fit


def model(
    op: str = "Relu", output: str = "y", opset: int = 17, **more: Any
) -> Callable[[], object]:
    """A model of one node, imported."""

    def run() -> None:
        node = helper.make_node(op, ["x"], ["y"], name="last", **more)
        ports = [helper.make_tensor_value_info(k, 1, ["n", 2]) for k in ("x", output)]
        graph = helper.make_graph([node], "g", ports[:1], ports[1:])
        sets = [helper.make_opsetid("", opset)]
        written("net.onnx", helper.make_model(graph, opset_imports=sets).SerializeToString())
        command("import", "net.onnx")()

    return run


def outside_model() -> None:
    """A model whose weights lie above its folder."""
    proto = helper.make_tensor("w", 1, [2], [1.0, 2.0])
    proto.ClearField("float_data")
    proto.data_location = TensorProto.EXTERNAL
    proto.external_data.add(key="location", value="../weights.bin")
    ports = [helper.make_tensor_value_info(k, 1, ["n", 2]) for k in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g", ports[:1], ports[1:], [proto]
    )
    written("net.onnx", helper.make_model(graph).SerializeToString())
    command("import", "net.onnx")()


def unreadable_onnx() -> None:
    with mock.patch("dln.importing.onnx_file.find_spec", lambda name: None):
        command("import", "net.onnx")()


def no_spec() -> None:
    with mock.patch("dln.importing.onnx_import.spec_of", lambda *_: Written("let a =\n", {}, 0)):
        model()()


def other_numbers() -> None:
    with mock.patch("dln.importing.onnx_import.compared", lambda *_: Compared(0.5, 1.0, 1e-5)):
        model()()


def no_picture() -> None:
    Path("a.png").write_bytes(b"GIF89a")
    pictures.pixels_of(Path("a.png"), pictures.PictureSize(1, 1, 1, "stretch"))


def unlike_files() -> None:
    np.savez("part-1.npz", x=np.ones((2, 3)))
    np.savez("part-2.npz", x=np.ones((2, 4)))
    npz('"part-*.npz"')


def packed() -> None:
    np.savez_compressed("a.npz", x=np.ones((2, 3)))
    npz('"a.npz"', "  set mapped = yes\n")


def npz(name: str, more: str = "") -> None:
    written("net.dln", f"data d = npz({name}) {{\n  x = raw.x\n{more}}}\n")
    dln.load("net.dln")


def changed_file() -> None:
    session().save("net.safetensors")
    line = '  start net := load("net.safetensors")\n  minimize'
    made = dln.load(NET.replace("  minimize", line)).compile().session()
    Path("net.safetensors").write_bytes(checkpoint.encode({"net.W": np.ones((2, 1))}, {}))
    made.train()


def ranks(of: object, *words: str, **said: str) -> Callable[[], object]:
    """A command of several processes, where this is all that there is of mpi4py."""

    def run() -> None:
        found = {"mpi4py.MPI": of}
        with mock.patch.dict("sys.modules", found), mock.patch.dict(os.environ, said):
            cli.carried_out(["run", "hello", *words])

    return run


class Second(Alone):
    """A rank to which the first one has handed something else."""

    index, count = 1, 2

    def first(self, value: Any) -> Any:
        return "another"


def another_plan(shards: int = 2) -> Callable[[], object]:
    """The second of two ranks, whose plan is another one."""

    def run() -> None:
        state = dln.load(NET).compile(shards=shards).session().state
        state.programs.ranks = Second()
        same_plan(state)

    return run


def interrupted_there() -> None:
    alone = mock.Mock(**{"Get_rank.return_value": 2, "Get_size.return_value": 4})
    alone.Dup.return_value.allgather.return_value = [("node7", 100 + i) for i in range(4)]
    with mock.patch.dict("sys.modules", {"mpi4py.MPI": mock.Mock()}):
        problems, code = Mpi(alone)._told(KeyboardInterrupt())
    raise Elsewhere(problems, code)


def dead() -> None:
    raise died("rank 2 of 4 (process 102 on node7)")


ONE = mock.Mock(**{"COMM_WORLD.Get_size.return_value": 1})

MADE: dict[str, Callable[[], object]] = {
    "E001": command("run", "mlp", "--epochs", "few"),
    "E002": no_access,
    "E003": no_memory,
    "E010": command("check", "folder/net.dln"),
    "E011": lambda: dln.load(written("a.dln", b"let a = \xff\n")),
    "E012": lambda: read_flags({"DLN_DEBUG": "much"}),
    "E013": command("plan", "mlp", "--program", "sse"),
    "E014": command("run"),
    "E015": outside,
    "E016": command("sweep", "softmax"),
    "E150": lambda: parse("let a = " + "(" * 70),
    "E151": lambda: parse("let a = 1" + " + 1" * 300),
    "E152": lambda: parse("let a = 1e999"),
    "E153": lambda: parse("#" * 1_000_001),
    "E154": lambda: parse("let " + "a" * 101 + " = 1"),
    "E299": matrix_refused,
    "E500": lambda: parse_clock("two words"),
    "E502": link,
    "E503": no_idx,
    "E505": two_sets,
    "E508": data('synthetic("gaussians", 2, 2, 10^9)'),
    "E511": no_file,
    "E516": without_pyarrow,
    "E518": lambda: session(NET.replace("rows([[1, 2], [3, 4], [5, 6]])", "given(a[1], b)").replace(
        "raw[:1]", "raw.a").replace("raw[1]", "raw.b")).train(),
    "E520": no_cupy,
    "E521": no_gpu,
    "E522": lambda: dln.load(NET).compile("tpu"),
    "E523": lambda: refuse(session().plan, AskedRun(("fit",)), Bounds(free=500, before=1 << 60)),
    "E525": without_pillow,
    "E526": no_picture,
    "E527": unlike_files,
    "E528": packed,
    "E530": lambda: saved(lambda b: b[:20]),
    "E531": lambda: saved(lambda b: b[:-1] + bytes([b[-1] ^ 1])),
    "E532": lambda: checkpoint.compare_keys({"w": ((3,), "float64")}, {"w": np.ones(2)}),
    "E533": lambda: checkpoint.encode({"w": np.ones(2, complex)}, {}),
    "E534": lambda: checkpoint.load("nowhere.safetensors"),
    "E535": lambda: session(NET.replace("lr = 0.01", "lr = error")).step("fit", x=[[1]], t=[1]),
    "E536": lambda: foreign.fitting(session().state, Path("a.st"), {"net.w": np.ones((1, 1))}),
    "E537": changed_file,
    "E540": twice,
    "E541": command("run", "--resume", "nowhere"),
    "E542": refused("file/run"),
    "E543": killed,
    "E544": other_seed,
    "E548": command("compare", "nowhere"),
    "E611": there,
    "E623": handed_table("a,sort\n1,rose\n"),
    "E624": handed_table("a,b,label\n1,2,rose\n1,two,lily\n"),
    "E577": early,
    "E578": applied("scaled", GOOD),
    "E579": applied("net", GOOD, "--as", "other"),
    "E580": applied("net", "length,sort\n1,2\n"),
    "E581": applied("net", ""),
    "E582": applied("net", GOOD, "--to", "new.xlsx"),
    "E583": applied("net", GOOD, "--keep", "nmae"),
    "E584": applied("net", GOOD.replace("2026-05-01", "20260501")),
    "E585": applied("net", GOOD.replace("1.5", "")),
    "E573": command("draw", "hello", "--net", "nets"),
    "E574": no_matplotlib,
    "E575": command("draw", "activations"),
    "E576": no_graphviz,
    "E586": descending,
    "E587": command("emit", "activations"),
    "E549": command("runs", ".", "--by", "accuracy"),
    "E641": ranks(None, OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="4"),
    "E642": ranks(ONE, "--mpi", OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="4"),
    "E643": ranks(None, "--mpi"),
    "E644": dead,
    "E645": interrupted_there,
    "E646": another_plan(),
    "E640": another_plan(1),
    "E545": command("run", "mlp", "--from", "a", "--resume", "b"),
    "E546": lambda: foreign.read("."),
    "E615": lambda: (written("net.onnx", b"model"), command("import", "net.onnx")())[1],
    "E616": model("Det"),
    "E617": outside_model,
    "E618": unreadable_onnx,
    "E619": model(output="z"),
    "E620": other_numbers,
    "E621": model(opset=5),
    "E622": no_spec,
    "E550": lambda: session().step("fit", x=[[1.0]], tt=[1.0]),
    "E551": lambda: session().step("fit", x=[1.0, 2.0], t=[1.0, 2.0]),
    "E552": lambda: session().step("fit", x=[[1.0]], t=["a"]),
    "E553": lambda: session().step("fit", x=[[1.0]], t=[np.nan]),
    "E555": lambda: session().step("fit", x=[[1.0]], t=[1.0, 2.0]),
    "E556": lambda: session().net(np.zeros((0, 1))),
    "E557": lambda: session().train(data={"d": (np.ones((1, 1)), np.ones(1))}),
    "E560": lambda: session().step("fti"),
    "E561": resumed,
    "E562": lambda: number_of({}, PhaseNumber("fit", "error", False, None)),
    "E563": lambda: session().train(epochs=-1),
    "E564": lambda: session(NET.replace("over net", "over net.W")).grad("fit", "net.b"),
    "E565": lambda: session(f"{NET}let loose = dense(3)\n").apply("loose", [[1.0]]),
    "E570": lambda: gradcheck(session(NET.replace(LINE, "update net.b += 0 * x")), "fit"),
    "E571": lambda: gradcheck(session(dtype="float32"), "fit"),
    "E572": lambda: gradcheck(session(NET.replace("over", "+ stop(e) over")), "fit"),
    "E610": drawn,
    "E612": command("emit", "rbm", "--to", "net.onnx"),
    "E613": without_onnx,
    "E614": large,
    "E590": without_scikit_learn,
    "E591": estimator(),
    "E592": estimator(sample_weight=[1, 2]),
    "E593": parts(lambda: written("net.dln", SWEPT.replace("2 epochs", "3 epochs"))),
    "E594": command("sweep", "mlp", "--part", "3/20"),
    "E595": parts(cut_short),
    "E625": weights("a.pt", b"\x80\x02"),
    "E626": weights("a.npz", None, "a,b\n"),
    "E627": weights("a.npz", None, "theirs,ours\nx,net.W\n"),
    "E628": without_scipy,
    "E629": weights("a.safetensors", b""),
    "E600": lambda: session().step("fit", x=[[1e200]], t=[0.0]),
    "W300": warned(NET.replace("over net", "over net.W")),
    "W301": warned('let a = 1\ncheck "none" {\n  for i in [] {\n    expect i == 1\n  }\n}\n'),
    "W302": warned(NET.replace("minimize e", "minimize sum(net.b^2)")),
    "W303": warned(NET.replace("let net", "const hidden = 3\nlet net")),
    "W304": warned(NET.replace("every 1 epoch", "every 9 epochs")),
    "W305": warned(NET.replace("lr = 0.01", "lr = 0")),
    "W306": warned(NET + "const n = 3\nsweep s {\n  vary n in [3]\n  report n\n}\n"),
    "W307": warned("data d = rows([[1, 0], [0, 1]]) {\n  v[2]: binary = raw\n}\nlet R = rbm(3)\n"
                   "train fit on d batch 1 for 1 epoch {\n"
                   "  minimize R.free(v) over R with sgd(lr = 0.1)\n}\n"),
    "W308": warned(NET.replace("  e =", "  k ~ normal(0, 1)\n  e =").replace(
        "minimize e", "minimize e + sum(k * [1, 2])")),
    "W309": warned(NET.replace("watch error = e", "watch right = t == 2").replace(
        "1 epoch\n}", "1 epoch\n  checkpoint best by right\n}")),
    "W310": warned(f'{SHARE}check "it learns" {{\n  expect fit.error < 5\n}}\n'),
    "W311": warned(f'{SHARE}check "it learns" {{\n  expect min(fit.error) < 0.1\n}}\n'),
    "W312": warned(NET.replace("let net", "let t = 3\nlet net")),
    "W313": sorted_table,
    "W314": warned(NET.replace("error = e on d.valid", "told = r_squared(net(x)[0], t)")),
    "W315": warned(NET.replace("let net = dense(1)",
                               "let net = chain([dense(3, init = zero), dense(1, init = zero)])")),
    "W316": warned(NET.replace("batch 1 for", "batch 8 for")),
    "W317": warned(NET.replace("lr = 0.01", "lr = rate")
                   + "const rate = 0.1\nsweep s {\n  vary rate in [0.1, 0.2]\n}\n"),
    "W318": warned(NET.replace("dense(1)", "chain([batch_norm(784), dense(1)])")),
    "E999": lambda: cli.defect(Terminal(), ZeroDivisionError("division by zero")),
}  # fmt: skip


def sources() -> list[Path]:
    """Every file that may give a code; the layers are linked into `dln`."""
    linked = ("grammar", "compiler", "runtime", "specs")
    found = [p for layer in linked for p in (ROOT / layer).rglob("*.py")]
    own = (p for p in (ROOT / "dln").rglob("*.py"))
    return found + [p for p in own if p.relative_to(ROOT / "dln").parts[0] not in linked]


def given() -> set[str]:
    """The codes that stand in the source as texts of their own."""
    quoted = re.compile(f'"({CODE.pattern})"')
    return {code for path in sources() for code in quoted.findall(path.read_text())}


def test_every_code_has_a_golden_text() -> None:
    files = (ROOT / "tests").rglob("golden/*.txt")
    shown = {code for path in files for code in SHOWN.findall(path.read_text())}
    assert given() - shown == set()
    assert shown - given() == set()


def test_a_directory_with_a_character_that_no_path_holds() -> None:
    with pytest.raises(Fault) as caught:
        RunDirectory.create("net", "a\0b")
    assert caught.value.code == "E542"


SAID = ("E100", "E119")
"""Messages that say what is expected, or what to write, in their reason."""


def test_every_message_has_a_way_out() -> None:
    """Below the frame stands what to write, or a fact that leads there."""
    stuck = set()
    for path in (ROOT / "tests").rglob("golden/*.txt"):
        for part in re.split(r"^==== .*\n|\n\n(?=error\[|warning\[)", path.read_text(), flags=re.M):
            said = SHOWN.search(part)
            if said is not None and not re.search(r"^ *= ", part[said.start() :], re.M):
                stuck.add(part[said.start() :])
    assert {one for one in stuck if SHOWN.findall(one)[0] not in SAID} == set()
    assert len(stuck) < 10


@pytest.mark.parametrize("code", MADE)
def test_the_text_of(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = ""
    try:
        warnings = MADE[code]()
        said = "\n\n".join(map(str, warnings)) if isinstance(warnings, tuple) else ""
    except DlnError as error:
        said = str(error)
    except Fault as fault:
        said = str(fault.at(None))
    said = (said or capsys.readouterr().err).replace(str(tmp_path), "here").strip() + "\n"
    golden = HERE / "golden" / f"{code}.txt"
    if os.environ.get("DLN_GOLDEN") == "write":
        golden.write_text(said)
    assert SHOWN.findall(said) == [code]
    assert said == golden.read_text()
