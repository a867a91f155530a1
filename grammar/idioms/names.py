"""Names that other tools have for the same: functions, and options of layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

OTHER = {
    "absolute": "abs", "amax": "max", "amin": "min", "expit": "sigmoid", "logistic": "sigmoid",
    "sigm": "sigmoid", "rectify": "relu", "hardmax": "argmax", "reduce_sum": "sum",
    "reduce_mean": "mean", "reduce_max": "max", "reduce_min": "min", "average": "mean",
    "maximum": "max", "minimum": "min", "xavier": "glorot", "xavier_uniform": "glorot",
    "glorot_uniform": "glorot", "he_normal": "he", "kaiming_normal": "he", "lecun_normal": "fan_in",
    "linear": "id", "identity": "id", "multinomial": "categorical", "stop_gradient": "stop",
    "consider_constant": "stop", "disconnected_grad": "stop", "sparse_softmax": "softmax",
    "fabs": "abs", "nllloss": "nll",
}  # fmt: skip
OPTIONS = {
    "units": "m", "num_units": "m", "n_units": "m", "num_neurons": "m", "num_outputs": "m",
    "out_features": "m", "output_dim": "m", "n_out": "m", "hidden_size": "m",
    "hidden": "m", "neurons": "m", "outputs": "m", "num_output": "m", "features": "m",
    "activation": "act", "nonlinearity": "act", "act_fn": "act", "transfer": "act",
    "filters": "k", "out_channels": "k", "num_filters": "k", "channels": "k", "maps": "k",
    "kernel_size": "size", "filter_size": "size", "pool_size": "size", "ksize": "size",
    "kernel": "size", "sx": "size", "window": "size", "strides": "stride", "padding": "border",
    "dilation": "gap", "dilation_rate": "gap", "pad": "border", "subsample": "stride",
    "W_init": "init", "hidden_dim": "m", "embedding_dim": "m", "num_heads": "heads",
    "nhead": "heads",
    "learning_rate": "lr", "base_lr": "lr", "eta": "lr", "step_size": "lr", "rate": "lr",
    "weight_decay": "decay", "l2": "decay", "beta_1": "b1", "beta1": "b1", "beta_2": "b2",
    "beta2": "b2", "epsilon": "eps", "mu": "momentum",
    "momentum": "mass", "initializer": "init", "weights": "init",
    "kernel_initializer": "init", "weight_init": "init", "weight_filler": "init",
    "kernel_init": "init", "weights_init": "init", "weight_initializer": "init", "drop_prob": "p",
}  # fmt: skip
PADDED = "zeros around an image are a border: conv(6, 5, border = 2) has as many rows as x"
# What is said in other places.
INSTEAD = {
    **dict.fromkeys(("use_bias", "bias"), "without it a layer is two lines: "
                    "param W[m, n] ~ glorot(n, m), and y = W @ x"),
    **dict.fromkeys("kernel_regularizer regularizer l1 weight_decay l2_reg decay".split(),
                    "a penalty is a part of the loss: minimize loss + 1e-4 * sum(net.h.W^2) over"),
    **dict.fromkeys(("dropout", "recurrent_dropout", "drop", "dropout_rate"),
                    "what is left out is left out of a value: h -> dropout(0.5)"),
    **dict.fromkeys(("num_layers", "n_layers", "depth"), "layers stand one after another: "
                    "x -> lstm(64) -> lstm(64), or chain([for k in 1..2: lstm(64)])"),
    "return_sequences": "the last step alone is last(h), of h = x -> lstm(64)",
    "bidirectional": "two layers read from both ends: x -> both(lstm(64), lstm(64))",
    **dict.fromkeys(("schedule", "lr_policy", "lr_decay", "scheduler"),
                    "a rate that changes is an expression: sgd(lr = 0.1 * 0.5^floor(epoch / 10))"),
    "nesterov": "momentum that looks ahead is another: nesterov(lr = 0.1, mass = 0.9)",
    **dict.fromkeys("clip clipnorm clip_norm global_clipnorm max_grad_norm max_norm "
                    "gradient_clip".split(),
                    "the norm of the gradient is limited behind every optimiser: "
                    "with adam(lr = 0.001) clip 5"),
    "clipvalue": "each number of a gradient is cut by rmsprop(lr = ..., clip = 5), or in an "
                 "optimiser of one's own: h = max(min(g, 5), -5)",
    **dict.fromkeys("kernel_constraint bias_constraint max_norm".split(),
                    "a weight in bounds is an equation of a parameter: y = (V / norm(V)) @ x"),
    **dict.fromkeys("activity_regularizer bias_regularizer".split(),
                    "a penalty is a part of the loss: minimize loss + 1e-4 * sum(net.h^2) over"),
    **dict.fromkeys("mask_zero padding_idx".split(),
                    "sequences of unequal lengths say their lengths: a field length, in data"),
    **dict.fromkeys("std gain stddev".split(), "first values are a function of one's own: "
                    "fn wide(n, m) = normal(0, 0.01), and init = wide"),
    **dict.fromkeys("batch_norm norm".split(), "what is made even stands behind a layer: "
                    "x -> dense(32) -> batch_norm -> relu"),
    **dict.fromkeys("callbacks snapshot_prefix".split(),
                    "what is watched and kept stands in the phase: watch, checkpoint, until"),
    **dict.fromkeys("use_ema ema_momentum".split(), "averaged weights are those of another "
                    "instance: start slow := net, and update slow += 0.001 * (net - slow)"),
    **dict.fromkeys("amsgrad centered maximize".split(), "such an optimiser is one of one's own: "
                    "optimiser name(p, g; lr) { p := p - lr * g }; -e is what grows less"),
    "momentum": "momentum is of sgd(lr = 0.1, momentum = 0.9); adam has b1, rmsprop rho, and a "
                "running mean of batch_norm a rate = 0.1",
    "go_backwards": "a sequence from its end is reversed(x)",
    "ceil_mode": "windows that leave a rest are cut by rest = \"cut\"",
    "proj_size": "a smaller result is a layer behind it: x -> lstm(64) -> dense(8)",
    "residual": "what is added to x is residual(inner): x -> residual(dense(32))",
    "groups": "maps in groups are a layer of their own: grouped_conv(6, 3, groups = 2), or "
              "depthwise_conv(3), each by itself",
}  # fmt: skip
ARGUMENTS = {  # of losses and functions
    "reduction": "a loss is the mean over the minibatch by itself: minimize total ... adds it up",
    "from_logits": "cross_entropy takes what softmax has not been applied to, nll what it has",
    "label_smoothing": "a share e spread over all classes: smoothed_cross_entropy(z, label, e)",
    "weight": "classes weigh by a factor: minimize balanced(label) * cross_entropy(z, label) over",
    "ignore_index": "what does not count has the factor 0: (1 if label != 0 else 0) * e",
    "training": "dropout(x, p) acts only where a phase learns",
    **dict.fromkeys(("axis", "dim", "keepdim", "keepdims"),
                    "all is of one example, whose axes are named by indices: sum(i: x[i, j])"),
    **dict.fromkeys(("rng", "key", "seed"), "draws follow from the seed of the run"),
    **dict.fromkeys(("size", "shape"), "what is drawn has the shape of what it is drawn for: "
                    "param W[10, 784] ~ normal(0, 0.1), or z[32] ~ normal(0, 1)"),
    **dict.fromkeys(("dtype", "device"), "the precision stands in the header of a phase, dtype "
                    "float64; the device is of a run, dln run SPEC --backend cupy"),
    **dict.fromkeys(("mask", "attn_mask"), "what counts is a choice: sum(x if m > 0 else 0)"),
    "pos_weight": "a weight of what is true is a factor: binary_cross_entropy(p, t) * (1 + 4 * t)",
    "inplace": "a value does not change: an equation says what each element is",
}  # fmt: skip
CLOCKS = {
    **dict.fromkeys("step steps globalstep iteration iterations iter iters niter updates "
                    "currentstep batchidx batchindex".split(), "update"),
    **dict.fromkeys("epochs currentepoch epochidx nepoch".split(), "epoch"),
}  # fmt: skip
# What is so anyway, where it is true.
TRUE = frozenset("use_bias bias return_sequences trainable requires_grad".split())
# What follows from the equations, or is so anyway.
NEEDLESS = frozenset(
    "input_shape input_dim in_features in_channels input_size n_in num_inputs name "
    "dtype device batch_first inplace  "
    "bias_initializer b_init padding_mode count_include_pad affine track_running_stats "
    "elementwise_affine num_features normalized_shape num_embeddings input_length embed_dim "
    "d_model key_dim foreach fused capturable dampening stateful unroll center "
    "batch_input_shape data_format return_state reduction size_average from_logits".split()
)


def plain(name: str) -> str:
    """A word as it is looked up, without regard to case and `_`."""
    return name.casefold().replace("_", "").replace(".", "")


def clock(name: str) -> str:
    """What counts in a phase, of a name that other tools have for it."""
    return CLOCKS.get(name.casefold().replace("_", ""), "")


def same(name: str, known: Collection[str]) -> str:
    """What a function of another tool is called here; "" where none of those known is the same."""
    low = name.casefold().rstrip("_")
    return low if low in known else OTHER.get(low, "" if known else low)


def options(text: str, known: Collection[str], rewritten: Callable[[str], str]) -> str:
    """Further arguments in the words of the language, each after a comma; what is needless is
    left out."""
    found = []
    for part in arguments(text):
        name, equal, value = part.strip().partition("=")
        if not re.fullmatch(r"\w+\s*", name) or value[:1] == "=" or not equal:
            name, value = "", part
        name, value = name.strip(), value.strip()
        if name in NEEDLESS or not value or (name in TRUE and value.casefold() == "true"):
            continue
        quoted = re.fullmatch(r"[\"'](\w+)[\"']", value)
        value = same(quoted[1], known) or quoted[1] if quoted else rewritten(value)
        here = name if quoted and name == "padding" else OPTIONS.get(name, name)  # "same"
        found.append(f", {here} = {value}" if name else f", {value}")
    return "".join(found)


def renamed(text: str, known: Collection[str]) -> str | None:
    """The rest of a call from a wrong option on, where all of it is known by another name; else
    None."""
    said = options(text, (), lambda value: value).removeprefix(", ")
    given = {p.split("=")[0].strip() for p in arguments(said) if re.match(r"\s*\w+\s*=(?!=)", p)}
    return said if given <= set(known) else None


PADDING = re.compile(r"(\bconv\w*\(\d+, (\d+)[^()]*?), \w+ = [\"']?(same|valid)[\"']?", re.I)


def padded(text: str) -> str:
    """`conv(32, 3, padding = same)`, with its border."""

    def put(found: re.Match[str]) -> str:
        same, size = found[3].casefold() == "same", int(found[2])
        return f"{found[1]}, border = {size // 2}" if same and size % 2 else found[1]

    return PADDING.sub(put, text)


def arguments(text: str) -> list[str]:
    """The arguments of a call, cut at the commas that stand in no brackets or text."""
    parts, depth, quote = [""], 0, ""
    for c in text:
        quote = c if not quote and c in "\"'" else "" if c == quote else quote
        depth += 0 if quote else (c in "([{") - (c in ")]}")
        if c == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += c
    return [p for p in parts if p.strip()]
