"""Losses and layers of PyTorch, Keras, JAX, Theano and Caffe, and how they are written here."""

from __future__ import annotations

import re

from dln.grammar.idioms.names import arguments, options, same

Holes = dict[str, str]


def _of_value(h: Holes) -> str | None:
    """A layer that is called with its value first, as a function is."""
    given = options(h["number"] + h["more"], h["known"].split(), lambda text: text)
    return f"conv({given.removeprefix(', ')})({h['x']})" if h["x"].isidentifier() else None


def named(h: Holes) -> str | None:
    return same(h["f"], h["known"].split()) or None


def _likely(h: Holes) -> str:
    """The loss of logarithms of probabilities."""
    logits = re.fullmatch(r"log\(softmax\((.*)\)\)", h["a"].strip())
    return f"cross_entropy({logits[1]}, {h['b']})" if logits else f"nll(exp({h['a']}), {h['b']})"


def _by_names(h: Holes) -> str | None:
    """A convolution of which all is named."""
    given = options(h["inside"], h["known"].split(), lambda text: text).removeprefix(", ")
    return f"conv({given})" if "k =" in given and "size =" in given else None


def _added(h: Holes) -> str:
    """A sum of values; what flows through layers stands in brackets."""
    parts = [a.strip() for a in arguments(h["inside"])]
    return " + ".join(f"({a})" if "->" in a else a for a in parts)


def _chain(h: Holes) -> str:
    return f"chain([{', '.join(a.strip() for a in arguments(h['inside']))}])"


RESULTS = "a layer has its number of results only: that of its inputs follows from what it is given"
DENSE = "a full layer is called dense, and has its number of results and its function"
CONV = "a convolution has its number of maps and the size of its filters: conv(k, size)"
POOL = "pooling is max_pool(size) or mean_pool(size)"
OVER = "over takes the instance itself, which stands for all of its parameters"
CALL = "an instance is applied like a function"
EACH = "all is written for one example, and done for each; nothing is to be compiled by hand"
NORMS = "there is no block for this: it is an equation"

# Only where they are refused, as the places of `operations` are.
STEPS = (
    ("for {f} in range|arange(len({inside})) {", "scan {f} in time {",
     "along a sequence runs a scan"),
    ("scan {f} in {k}..time {", "scan {f} in time {",
     "a scan goes from the first step to the last"),
    ("({f} in minibatch|examples: {inside})", "({f} in batch: {inside})",
     "another example of the minibatch is an index in batch"),
    ("clip|clip_by_norm|clip_by_global_norm|clipped({f}({inside}), {number})",
     "{f}({inside}) clip {number}", "clip stands behind the optimiser"),
)  # fmt: skip
CLASSED = "nll({b}, {a}) ~~ cross_entropy({a}, {b}) ~~ cross_entropy({b}, {a}) ~~ nll({a}, {b})"
BINARY = (
    "binary_cross_entropy({b}, {a}) ~~ sum(binary_cross_entropy({b}, {a})) ~~ "
    "binary_cross_entropy({a}, {b}) ~~ sum(binary_cross_entropy({a}, {b}))"
)


def _clipped(h: dict[str, str]) -> str | None:
    """`optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))`."""
    given = [re.sub(r"^\w+\.(?=\w+\()", "", a.strip()) for a in arguments(h["inside"])]
    limit = re.fullmatch(r"clip\w*\(([\d.]+)\)", given[0]) if len(given) == 2 else None
    return f"{given[1]} clip {limit[1]}" if limit else None


def _decayed(h: dict[str, str]) -> str | None:
    """`Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)`."""
    given = [a.strip() for a in arguments(h["inside"]) if "=" in a]
    if not any(re.match(r"(weight_)?decay\b|l2\b", a) for a in given):
        return None
    return f"adamw({options(', '.join(given), (), str).removeprefix(', ')})"


LOSSES = (
    ("~mse|mse_loss|MSE|mean_squared_error({a}, {b}{more})", "mean(({a} - {b})^2)",
     "the mean squared error is written out"),
    ("~kl_div|KLDivLoss|kl_divergence({inside})", ": kl_categorical(p, q), of probabilities",
     "divergences are kl_categorical, kl_bernoulli and kl_normal"),
    ("~huber_loss|HuberLoss|SmoothL1Loss|smooth_l1_loss({a}, {b}{more})", "huber({a}, {b}, 1)",
     "squared up to 1, then linear, is huber(y, t, 1)"),
    ("~hinge_loss|HingeLoss|MarginLoss|"
     "cosine_similarity|CosineSimilarity|triplet_loss",
     ": minimize mean(max(0, 1 - t * y)) over net with sgd(lr = 0.1)", "a loss is an equation"),
    ("~EuclideanLoss|L2Loss|l2_loss|SSE|sse({a}, {b})", "sum(({a} - {b})^2) / 2",
     "the squared error is written out"),
    ("~MSELoss|MeanSquaredError({inside})({a}, {b})", "mean(({a} - {b})^2)",
     "the mean squared error is written out"),
    ("~l1_loss|mae|mean_absolute_error({a}, {b}{more})", "mean(abs({a} - {b}))",
     "the mean absolute error is written out"),
    ("~CrossEntropyLoss({inside})({a}, {b})", "cross_entropy({a}, {b})",
     "a loss is a function: cross_entropy(z, label) takes logits and a class"),
    ("~nll_loss|NLLLoss({a}, {b})", _likely, "nll(p, label) takes probabilities and a class"),
    ("~vmap|jit|pmap({a})({b})", "{a}({b})", EACH), ("~vmap|jit|pmap({a})", "{a}", EACH),
    ("~scan|while_loop|fori_loop|foldl({inside})", ": scan t in time { h[t] = ... }",
     "what goes on from step to step is a scan"),
    ("~CrossEntropyLoss|MSELoss|BCELoss|BCEWithLogitsLoss|NLLLoss()",
     ": minimize cross_entropy(z, label) over net with sgd(lr = 0.1)",
     "a loss is a function, which is applied where the loss stands"),
    ("~NLLLoss({inside})({a}, {b})", "nll(softmax({a}), {b})",
     "a loss is a function: nll(p, label) takes probabilities and a class"),
    ("~softmax_cross_entropy_with_logits|sparse_softmax_cross_entropy_with_logits"
     "(labels = {a}, logits = {b})", "cross_entropy({b}, {a})",
     "cross_entropy(z, label) takes logits and a class"),
    ("~softmax_cross_entropy|CrossEntropy|SoftmaxWithLoss|softmax_with_loss|SoftmaxLoss|crossentropy"
     "|cross_entropy_loss|categorical_cross_entropy|xent({a}, {b})", "cross_entropy({a}, {b})",
     "cross_entropy(z, label) takes logits and a class"),
    ("~sparse_categorical_crossentropy|categorical_crossentropy({a}, {b}{more})", CLASSED,
     "of logits and a class this is cross_entropy(z, label), of probabilities nll(p, label)"),
    ("~BCELoss({inside})({a}, {b})", "binary_cross_entropy({a}, {b})",
     "a loss is a function: binary_cross_entropy(p, t)"),
    ("~bce|bce_loss({a}, {b})",
     "binary_cross_entropy({a}, {b}) ~~ sum(binary_cross_entropy({a}, {b}))",
     "this is binary_cross_entropy(p, t)"),
    ("~binary_crossentropy({a}, {b})", BINARY,
     "this is binary_cross_entropy(p, t): what is found, then what is right"),
    ("~binary_cross_entropy_with_logits({a}, {b})", "binary_cross_entropy(sigmoid({a}), {b})",
     "binary_cross_entropy takes probabilities: sigmoid of a logit, and does not overflow"),
    ("~sparse_categorical_crossentropy|categorical_crossentropy|CategoricalCrossentropy|mse|MSE|mae"
     "|SparseCategoricalCrossentropy|BCELoss|BCEWithLogitsLoss|binary_crossentropy|MSELoss|mse_loss"
     "|CrossEntropyLoss|crossentropy|NLLLoss|softmax_cross_entropy|hinge_loss|squared_loss",
     ": minimize cross_entropy(z, label) over net with sgd(lr = 0.1)",
     "a loss is a function, which is applied where the loss stands: cross_entropy(z, label), "
     "nll(p, label), squared_error(y, t), binary_cross_entropy(p, t)"),
)  # fmt: skip
LAYERS = (
    ("~Linear|FullyConnected|InnerProduct({a}, {b}{more})", "dense({b}{more})", RESULTS),
    ("~linear|fc|Dense({a}, {k}{more})", "dense({k}{more})", RESULTS),
    ("~TimeDistributed({a})", "{a}", "a layer is applied at each step by itself"),
    ("~Bidirectional({a}{more})", "both({a}, {a})", "two layers read from both ends with both"),
    ("~Linear|linear|fc|FullyConnected|Dense|DenseLayer|fully_connected|InnerProduct"
     "|Affine({a}{more})",
     "dense({a}{more})", DENSE),
    ("~Linear|Dense", "dense", DENSE),
    ("~Conv2d({a}, {b}, {c}{more})", "conv({b}, {c}{more})", CONV),
    ("~Conv2d({a}, {b}{more})", "conv({b}{more})", CONV),
    ("~conv2d({x}, {number}{more})", _of_value, CONV),
    ("~Conv2D|Convolution2D|Conv|conv2d({a}, ({k}, {b}){more})", "conv({a}, {k}{more})", CONV),
    ("~Conv2D|Convolution2D|Conv|conv2d({a}{more})", "conv({a}{more})", CONV),
    ("~Conv2d|Conv2D({inside})", _by_names, CONV),
    ("~Conv1d({a}, {b}, {c}{more})", "conv1d({b}, {c}{more})", CONV),
    ("~Conv1D({a}, {b}{more})", "conv1d({a}, {b}{more})", CONV),
    ("~Conv3d({a}, {b}, {c}{more})", "conv3d({b}, {c}{more})", CONV),
    ("~Conv3D({a}, {b}{more})", "conv3d({a}, {b}{more})", CONV),
    ("~ConvTranspose2d({a}, {b}, {c}{more})", "conv_transpose({b}, {c}{more})", CONV),
    ("~Conv2DTranspose({a}, {b}{more})", "conv_transpose({a}, {b}{more})", CONV),
    ("~DepthwiseConv2D({a}{more})", "depthwise_conv({a}{more})", CONV),
    ("~UpSampling2D({a})", "upsample({a})", "x -> upsample(2) repeats each element twice each way"),
    ("~MaxPool2d|MaxPooling2D|MaxPool2D|maxpool|MaxPool(({k}, {inside}){more})",
     "max_pool({k})", POOL),
    ("~MaxPool2d|MaxPooling2D|MaxPool2D|maxpool|MaxPool({k}{more})", "max_pool({k})", POOL),
    ("~MaxPool2d|MaxPooling2D|MaxPool2D|maxpool|MaxPool()", "max_pool(2)", POOL),
    ("~MaxPooling2D|MaxPool2D({f} = ({k}, {inside}){more})", "max_pool({k})", POOL),
    ("~MaxPooling2D|MaxPool2D|MaxPool2d({f} = {k}{more})", "max_pool({k})", POOL),
    ("~max_pool2d({a}, {k}{more})", "max_pool({k})({a})", POOL),
    ("~AvgPool2d|AveragePooling2D|avg_pool({k}{more})", "mean_pool({k})", POOL),
    ("~avg_pool2d({a}, {k}{more})", "mean_pool({k})({a})", POOL),
    ("~Dropout|dropout({a})({b})", "dropout({b}, {a})", "dropout is a function: dropout(x, 0.5)"),
    ("«-> »~Dropout({f} = {a})", "dropout({a})", "dropout is a function: x -> dropout(0.5)"),
    ("«-> »~Dropout({a})", "dropout({a})", "dropout is a function: x -> dropout(0.5)"),
    ("~Dropout|dropout|dropout2d({a}, p|rate|prob = {b}{more})", "dropout({a}, {b})",
     "dropout takes what it leaves out of, and the share; it acts only where a phase learns"),
    ("~Dropout|dropout({a}, {b}, {c}{more})", "dropout({a}, {b})",
     "dropout takes what it leaves out of, and the share; draws follow from the seed of the run"),
    ("~Dropout|dropout({inside})", ": x -> dropout(0.5) -> dense(10), in a block",
     "dropout is a function of what it leaves out of"),
    ("~Embedding({a}, {b}{more})", "embedding({b})",
     "a class says itself how many there are: embedding has the size of its rows"),
    ("~LSTM|LSTMCell({a}, {b}{more})", "lstm({b}{more})", RESULTS),
    ("~GRU|GRUCell({a}, {b}{more})", "gru({b}{more})", RESULTS),
    ("~RNN|SimpleRNN|RNNCell({a}, {b}{more})", "rnn({b}{more})", RESULTS),
    ("~LSTM({a}{more})", "lstm({a}{more})", "this layer is called lstm"),
    ("~GRU({a}{more})", "gru({a}{more})", "this layer is called gru"),
    ("~RNN|SimpleRNN({a}{more})", "rnn({a}{more})", "this layer is called rnn"),
    ("~BatchNorm2d({inside})", "batch_norm_maps()",
     "sizes follow from what a layer is given: batch_norm_maps(), of the maps of images"),
    ("~batchnorm|BatchNorm|BatchNorm1d|BatchNormalization({inside})", "batch_norm()",
     "sizes follow from what a layer is given: batch_norm(), or batch_norm_maps() of images"),
    ("~layernorm|LayerNorm|LayerNormalization({inside})", "layer_norm()",
     "sizes follow from what a layer is given: layer_norm()"),
    ("~Sequential|Chain|Stack|Serial([{inside}])", _chain, "layers one after another are a chain"),
    ("~Sequential|Chain|Stack|Serial({inside})", _chain, "layers one after another are a chain"),
    ("~Input|InputLayer({inside})", ": block net(x[784]) -> y[10] { ... }",
     "what flows in is a port of a block"),
    ("~Activation|Nonlinearity(\"{f}\")", named, "a function is given by its name"),
    ("~Add()([{inside}])", _added,
     "layers are added with +"),
    ("~Concatenate()([{inside}])", "concat({inside})", "concat joins what it is given"),
    ("~ReLU()({a})", "relu({a})", "a function is applied by its name: relu(x)"),
    ("~Tanh()({a})", "tanh({a})", "a function is applied by its name: tanh(x)"),
    ("~Sigmoid()({a})", "sigmoid({a})", "a function is applied by its name: sigmoid(x)"),
    ("~Softmax({inside})({a})", "softmax({a})", "a function is applied by its name: softmax(z)"),
    ("~GlobalAveragePooling2D|AdaptiveAvgPool2d|global_avg_pool|GlobalAvgPool2D({inside})",
     "global_mean_pool()", "the mean of each map is global_mean_pool"),
    ("~GlobalMaxPooling2D|AdaptiveMaxPool2d|GlobalMaxPool2D({inside})",
     "global_max_pool()", "the largest of each map is global_max_pool"),
    ("~ZeroPadding2D|ConstantPad2d|zero_padding({k})", "pad({k})", "zeros around are pad"),
    ("~Lambda({a})", ": fn f(a) = ..., and f here", "a function has a name and a line of its own"),
    ("~MultiHeadAttention|MultiheadAttention|Transformer|TransformerEncoderLayer",
     ": x -> multi_head_attention(8, mask = causal), of a sequence x[time, n]",
     "attention between the steps of a sequence is multi_head_attention"),
    ("~Attention|scaled_dot_product_attention({a}, {b}, {c}{more})",
     "attention({a}, {b}, {c}; mask = anywhere)",
     "attention takes queries, keys and values"),
    ("~SeparableConv2D",
     ": y[o, i] = sum(q, u: K[o, q, u] * x[q, i + u]), as an equation with indices", NORMS),
    ("~Residual|ResidualBlock|ResBlock|SkipConnection", ": x -> residual(conv(16, 3, border = 1))",
     "what a block makes of x is added to x by residual"),
    ("~PReLU|hardtanh|mish|hswish|celu|glu|GLU",
     ": fn hardtanh(a) = max(min(a, 1), -1), on a line of its own",
     "what there is no function for is a line of fn"),
    ("~Nadam|NAdam|Adamax|RAdam|LAMB|Ftrl",
     ": adam(lr = 1e-3), or an optimiser of one's own: optimiser name(p, g; lr) { ... }",
     "of optimisers there are sgd, momentum, nesterov, adagrad, rmsprop, adadelta, adam, adamw, "
     "lion and lbfgs"),
    ("~LogSoftmax|log_softmax({inside})", ": log(softmax(z)), or cross_entropy(z, label) of logits",
     "logarithms of probabilities are an equation"),
    ("~ModuleList|ModuleDict([{inside}])", "[{inside}]", "several instances are a list"),
    ("~Model|Module|Functional|Net|Network({inside})",
     ": block net(x[784]) -> y[10] { ... }, and let model = net()",
     "a model is a block, with its ports and results"),
    ("{x}.evaluate|score({inside})", ": watch error = argmax(z) != label on test, and fit.error",
     "what is measured is a watch of a phase, and asked for by it"),
    ("history", ": fit.error[0] is the first report, fit.error the last",
     "what a phase has reported is asked of it"),
    ("~ReLU|Relu|RELU({a})", "relu({a})", "this function is called relu"),
    ("~ReLU|relu()", "relu", "a function is given by its name: relu"),
    ("~Tanh|tanh()", "tanh", "a function is given by its name: tanh"),
    ("~Sigmoid|sigmoid()", "sigmoid", "a function is given by its name: sigmoid"),
    ("~Softmax|softmax()", "softmax", "a function is given by its name: softmax"),
    ("~SGD|sgd({x}.parameters(){more})", lambda h: f"sgd({h['more'].removeprefix(', ')})",
     "an optimiser is given its options only; over says what it moves"),
    ("~chain({inside})", _clipped, "the gradient is limited behind the optimiser"),
    ("~Adam|adam({inside})", _decayed, "with a decay of the weights this is adamw"),
    ("~Adam|adam({x}.parameters(){more})", lambda h: f"adam({h['more'].removeprefix(', ')})",
     "an optimiser is given its options only; over says what it moves"),
    ("~RMSprop|rmsprop({x}.parameters(){more})",
     lambda h: f"rmsprop({h['more'].removeprefix(', ')})",
     "an optimiser is given its options only; over says what it moves"),
    ("{x}.parameters|get_params|variables|state_dict|named_parameters()", "{x}", OVER),
    ("«over »{x}.params|parameters|weights|trainable_variables|trainable_weights", "{x}", OVER),
    ("{x}.forward|predict|call|__call__|apply|fprop|output({inside})", "{x}({inside})", CALL),
)  # fmt: skip
