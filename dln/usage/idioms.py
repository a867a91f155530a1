"""What other tools call the commands, options and values of dln."""

from __future__ import annotations

COMMANDS = {
    "run": "train trains training fit learn execute exec start go eval evaluate predict infer",
    "check": "test validate parse typecheck",
    "show": "print view summary describe info graph draw cat",
    "plan": "compile build memory program",
    "time": "profile prof bench benchmark speed",
    "gradcheck": "grad grads gradient gradients check_grad",
    "sweep": "search grid gridsearch tune",
    "data": "dataset datasets",
    "results": "table",
    "explain": "passes rewrites",
    "": "list ls specs examples",
    "--help": "help",
    "--version": "version",
}
"""Words for each command; for nothing, `dln` alone."""

OPTIONS = {
    "--backend cupy": "gpu cuda use-gpu use-cuda cupy gpus",
    "--backend numpy": "cpu no-cuda no-gpu numpy",
    "--backend {}": "device target accelerator engine platform",
    "--dtype float64": "double float64 fp64 f64",
    "--dtype float32": "single float32 fp32 f32",
    "--dtype {}": "precision type floatx",
    "--out {}": "o output output-dir outdir out-dir dir d logdir log-dir run-dir save-dir save",
    "--limit {}": "n samples examples max-samples max-examples max-train-samples subset",
    "--epochs {}": "e ep nepochs n-epochs num-epochs max-epochs num-train-epochs",
    "--memory-limit {}": "m mem memory max-memory max-mem mem-limit ram max-ram",
    "--jobs {}": "j workers num-workers n-jobs parallel processes procs",
    "--threads {}": "t num-threads n-threads nthreads",
    "--shards {}": "num-shards n-shards replicas",
    "--seed {}": "s random-seed random-state manual-seed rng",
    "--phase {}": "p phases stage only",
    "--resume {}": "r ckpt checkpoint load load-checkpoint restore continue weights",
    "--data {}": "dataset data-dir data-path datadir",
    "-D {}": "define set const constant param params override hparams hp c",
    "--json": "format output-format as-json j-son",
    "--force": "f y yes overwrite clobber",
    "--quiet": "silent no-progress no-bar",
    "--slow": "full all long",
    "": "v vv verbose progress debug",
}
"""Words for each option, `{}` in place of their value; for nothing, what needs no word here."""

VALUES = {
    "cupy": "gpu cuda cuda:0 nvidia gpu:0",
    "numpy": "cpu np host blas",
    "float32": "float single f32 fp32 32 f4",
    "float64": "double f64 fp64 64 f8",
}
"""Words for each value that is one of few."""

CONSTANTS = (
    ("lr learning_rate rate eta alpha step_size stepsize", "as in sgd(lr = {})"),
    ("batch batch_size bs minibatch batchsize rows", "as in batch {}"),
    ("hidden units hidden_size width n_hidden hidden_units neurons size", "as in dense({})"),
    ("momentum mass beta mu", "as in momentum(lr = 0.1, mass = {})"),
    ("decay weight_decay wd l2 lambda", "as in {} * sum(net.W^2)"),
    ("dropout drop keep p", ""),
    ("layers depth num_layers n_layers", "as in 1..{}"),
    ("updates steps iterations iters max_steps max_iter", "as in for {} updates"),
    ("noise sigma std", ""),
    ("optimizer optimiser opt solver", ""),
)
"""Words that stand for the same constant of a spec, and where such a one is used."""


EXAMPLES = {
    "--limit": "1000", "--seed": "7", "--epochs": "3", "--threads": "2", "--jobs": "2",
    "--shards": "4",
    "--backend": "numpy", "--dtype": "float64", "--out": "runs/mine", "--phase": "NAME",
    "--data": "NAME=PATH", "-D": "NAME=VALUE", "--program": "NAME", "--pass": "simplify",
    "--memory-limit": "2GB", "--to": "results.md", "--take": "runs/mlp-1", "--specs": "DIR",
    "--depth": "2", "--net": "net", "--by": "error",
    "--from": "runs/mlp-1", "--into": "runs/mlp-1", "--map": "map.csv",
    "--weights": "w.safetensors", "--map-to": "map.csv", "--part": "3/20", "--gather": "runs/rows",
    "--mpi": "8", "--network": "10us,10GB/s",
}  # fmt: skip
"""A value for each option, to show its form."""


def meant(word: str, table: dict[str, str]) -> str | None:
    """The key of a row that has a word."""
    return next((key for key, words in table.items() if word in words.split()), None)
