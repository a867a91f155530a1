"""Operations of NumPy, PyTorch, Keras, JAX, Theano and plain Python, and how they are written here.

The first row that fits a place is taken: special forms stand above general ones. A row with a text
that stands for what is written is used inside of others too.
"""

from __future__ import annotations

from collections.abc import Callable

from dln.grammar.idioms import making
from dln.grammar.idioms.forms import Idiom
from dln.grammar.idioms.layers import LAYERS, LOSSES, STEPS, named
from dln.grammar.idioms.making import OF_ONE

TRANSPOSE = "a matrix is turned with a mark behind it: W'"
PRODUCT = "a product of matrices and vectors is written @"
STOP = "stop(x) is x, through which no gradient runs"
ONLY = "a number or tensor needs no conversion"
SHAPE = "shape(x) is the list of sizes of one example; there is no axis of the batch"
FLAT = "a tensor is laid out as a vector with flatten; one example has no axis of the batch"
SHAPED = "a shape is said where a tensor is declared, x[1, 28, 28] = raw.image, or by reshape"
DRAW = "what is drawn has the shape of what it is drawn for: param W[m, n] ~ normal(0, 0.1)"
LEARNT = "what is learnt is a parameter, with its sizes and a first value"
JOIN = "concat joins what it is given, along the first axis"
FIRST = "first values are glorot, he, fan_in or zero, or an expression of draws"
INDEX = "the indices of a sum stand before a colon"
RATE = "a rate that changes is an expression of epoch, update or progress"
SIGMA = "the logistic function is sigmoid"
COUNTED = "how many parameters there are is params(net)"
AXIS = "the axis that is gone through stands first, before a colon"
MET = "no axis is put in: which elements meet is said by indices"
PARTS = "the parts of data are said where it is declared"
TRUTH = "there are no words for true and false: a truth is a comparison"

PRODUCTS = (
    ("~dot|matmul|mm|mv|bmm|matvec|inner({a}, {b}{more})", "{a} @ {b}", PRODUCT),
    ("{x}.dot|matmul|mm|mv|matvec({a})", "{x} @ {a}", PRODUCT),
    ("~tensordot|einsum({inside})", ": y[i] = sum(j: W[i, j] * x[j])",
     "sums over indices are written with the indices"),
    ("{x}.T", "{x}'", TRANSPOSE),
    ("{x}.t|transpose|permute|swapaxes({inside})", "{x}'", TRANSPOSE),
    ("~transpose|permute|swapaxes({a}{more})", "{a}'", TRANSPOSE),
    ("~reverse|flip|fliplr({inside})", ": y[i] = x[n - 1 - i], where x has n elements",
     "a tensor is turned round by an equation with an index, a sequence by reversed(x)"),
)  # fmt: skip
NUMBERS = (
    ("{x}.{method}(axis|dim = {k}{more})", making.by_axis, OF_ONE),
    ("{x}.masked_fill({a}, {b})", "({b} if {a} else {x})", "a choice is written a if test else b"),
    ("~logical_and({a}, {b})", "({a} and {b})", "truths are joined by and, or, not"),
    ("~logical_or({a}, {b})", "({a} or {b})", "truths are joined by and, or, not"),
    ("~logical_not({a})", "(not {a})", "truths are joined by and, or, not"),
    ("~isnan|isinf|isfinite|nan_to_num({inside})", ": max(x, 1e-8) in log(max(x, 1e-8))",
     "numbers are finite: what would give none is refused where it arises"),
    ("lib.where|nonzero|argwhere({a})", ": sum(x if x > 0 else 0)",
     "places are not asked for: a choice says what stands where"),
    ("{x}.eq|equal({a})", "({x} == {a})", "equal is written =="),
    ("{x}.ne|not_equal({a})", "({x} != {a})", "unequal is written !="),
    ("{x}.gt|greater({a})", "({x} > {a})", "a comparison is written >"),
    ("{x}.lt|less({a})", "({x} < {a})", "a comparison is written <"),
    ("~eq|equal({a}, {b})", "({a} == {b})", "equal is written =="),
    ("~greater|gt({a}, {b})", "({a} > {b})", "a comparison is written >"),
    ("~less|lt({a}, {b})", "({a} < {b})", "a comparison is written <"),
    ("~add({a}, {b})", "{a} + {b}", "a sum is written +"),
    ("~subtract|sub({a}, {b})", "{a} - {b}", "a difference is written -"),
    ("~multiply|mul({a}, {b})", "{a} * {b}", "a product of elements is written *"),
    ("~divide|div|true_divide({a}, {b})", "{a} / {b}", "a quotient is written /"),
    ("~negative|neg({a})", "-{a}", "the negative is written -"),
    ("~reciprocal({a})", "1 / {a}", "a quotient is written /"),
    ("~rsqrt({a})", "1 / sqrt({a})", "a quotient is written /"),
    ("{x}.at[{inside}].set|add({a})", ": y = concat([0], x[1:])",
     "a value does not change: an equation says what each element is"),
    ("~cumsum({inside})", ": s[t] = s[t-1] + x[t], in a scan",
     "what goes on from element to element is a scan"),
    ("~tile|repeat|broadcast_to({inside})",
     ": y[i, j] = x[j], with a size for i where y is declared",
     "nothing is repeated: an equation with indices says where each element comes from"),
    ("~stack([{inside}]{more})", "[{inside}]", "a list of tensors of one shape is a tensor"),
    ("~eye({inside})[{a}]", "onehot({a})", "onehot(label) is 1 at the class and 0 elsewhere"),
    ("~eye({inside})", ": [for k in 0..2: [for j in 0..2: 1 if j == k else 0]]",
     "a matrix of numbers is a list of its rows"),
    ("~pow|power({a}, {b})", "{a}^{b}", "a power is written ^"),
    ("~square({a})", "{a}^2", "a square is written ^2"),
    ("{x}.pow({a})", "{x}^{a}", "a power is written ^"),
    ("~where|select|cond|ifelse({test}, {then}, {other})", "{then} if {test} else {other}",
     "a choice is written a if test else b"),
    ("~clip|clamp|clip_by_value({a}, {b}, {c})", "min(max({a}, {b}), {c})",
     "numbers are kept in bounds with max and min"),
    ("{x}.clip|clamp({a}, {b})", "min(max({x}, {a}), {b})",
     "numbers are kept in bounds with max and min"),
    ("~log1p({a})", "log(1 + {a})", "log1p is log(1 + x), which is computed as exactly"),
    ("~expm1({a})", "exp({a}) - 1", "expm1 is exp(x) - 1"),
    ("~log_softmax({a}{more})", "log(softmax({a}))", "log(softmax(z)) does not overflow here"),
    ("~logsumexp|reduce_logsumexp({a}{more})", "log(sum(exp({a})))",
     "log(sum(exp(z))) does not overflow here"),
    ("~log10({a})", "log({a}) / log(10)", "log is the natural logarithm"),
    ("~log2({a})", "log({a}) / log(2)", "log is the natural logarithm"),
    ("~tan({a})", "sin({a}) / cos({a})", "tan is sin / cos"),
    ("~cosh({a})", "(exp({a}) + exp(-{a})) / 2", "cosh is written with exp"),
    ("~sinh({a})", "(exp({a}) - exp(-{a})) / 2", "sinh is written with exp"),
    ("~round|rint({a})", "floor({a} + 0.5)", "round is written with floor"),
    ("~ceil({a})", "-floor(-{a})", "ceil is written with floor"),
    ("~var({a})", "mean(({a} - mean({a}))^2)", "the variance is a mean of squares"),
    ("~std|var|stddev({a})", making.of_columns, making.OVER_ALL),
    ("~std|var|stddev({a})", making.of_runs, making.OVER_RUNS),
    ("~std({a})", "sqrt(mean(({a} - mean({a}))^2))", "the deviation is the root of a mean"),
    ("~relu6({a})", "min(max({a}, 0), 6)", "relu6 is a max and a min"),
    ("~leaky_relu|LeakyReLU({a}, {b})", "max({a}, {b} * {a})", "a leaky relu is a max"),
    ("~leaky_relu({a})", "max({a}, 0.01 * {a})", "a leaky relu is a max"),
    ("~swish|SiLU({a})", "silu({a})", "x * sigmoid(x) is silu here"),
    ("~swish|SiLU", "silu", "x * sigmoid(x) is silu here"),
    ("~mod|fmod|remainder({a}, {b})", "{a} - {b} * floor({a} / {b})",
     "a remainder is written with floor"),
    ("~norm|l2_norm({a}{more})", "norm({a})", "the root of a sum of squares is norm(x)"),
    ("~concatenate|cat|hstack|vstack([{inside}]{more})", "concat({inside})",
     JOIN),
    ("~concatenate|cat|hstack|vstack(({inside}){more})", "concat({inside})",
     JOIN),
    ("~one_hot|to_categorical|OneHot({a}{more})", "onehot({a})",
     "onehot(label) is 1 at the class and 0 elsewhere"),
    ("~accuracy|accuracy_score|error_rate|error({a}, mnist|mnist_test|data|test|valid|train|fit)",
     ": watch error = argmax(net(x)) != label on mnist_test every 1 epoch",
     "what is measured on data is a watch of a phase, and asked for as fit.error"),
    ("~accuracy|accuracy_score({a}, {b})", "100 * (argmax({a}) == {b})",
     "accuracy is an equation of a watch: what is right for each example"),
    ("~zeros_like({a})", "0 * {a}", "zeros of a tensor's shape are 0 times it"),
    ("~ones_like({a})", "0 * {a} + 1", "ones of a tensor's shape are 0 times it, plus 1"),
    ("~zeros|empty(({inside}){more})", "zeros({inside})", "sizes are given one after another"),
    ("~zeros|empty([{inside}]{more})", "zeros({inside})", "sizes are given one after another"),
    ("~ones(({inside}){more})", "ones({inside})", "sizes are given one after another"),
    ("~ones([{inside}]{more})", "ones({inside})", "sizes are given one after another"),
    ("~full(({inside}), {b})", "{b} * ones({inside})", "ones times a number are filled with it"),
    ("{f}({a}, axis|dim = {k}{more})", making.along, OF_ONE),
    ("{f}([{inside}], axis|dim = {k})", making.of_list, OF_ONE),
    ("sum|mean|max|min|norm|argmax|argmin|softmax|prod({a}, axis|dim = {c}{more})",
     ": sum(i: W[i, j]) of a matrix, sum(x) of all of it", OF_ONE),
    ("{f}({a}, keepdims|keepdim = {b})", "{f}({a})", "nothing needs its dimensions kept"),
)  # fmt: skip
VALUES = (
    ("sum({index}, {a})", lambda h: making.indexed("sum", h), INDEX),
    ("mean({index}, {a})", lambda h: making.indexed("mean", h), INDEX),
    ("seq|Seq({a}, {b})", "{a}..{b}", "a range is written 1..9, both ends included"),
    ("{summing}({inside})", making.summing, INDEX), ("sigma({a})", "sigmoid({a})", SIGMA),
    ("«act = »sigma", "sigmoid", SIGMA), ("c({inside})", "[{inside}]", "a list is written in [ ]"),
    ("list|vector|array|vec({inside})", "[{inside}]", "a list is written in [ ]"),
    ("~value_and_grad|grad|gradient|gradients|backward|jacobian({a})",
     ": grad(loss, net), where loss is what is minimised",
     "a gradient is asked for by what it is of; minimize takes it by itself"),
    ("~tree_map|tree_util|tree_leaves({inside})", ": norm(net) or [norm(net.h.W), norm(net.y.W)]",
     "parameters are asked for by their names"),
    ("~PRNGKey|RandomState|default_rng|Generator|manual_seed|seed|split({inside})",
     ": train fit on mnist batch 100 for 1 epoch seed 7 {",
     "draws follow from the seed of the run, --seed 7, and of a phase"),
    ("~DataLoader|TensorDataset|Dataset|from_tensor_slices|load_data({inside})",
     ": train fit on mnist batch 100 for 1 epoch {",
     "a phase reads a data set by itself, another order in each epoch"),
    ("~StepLR|ExponentialLR|ExponentialDecay|exponential_decay|MultiStepLR({inside})",
     ": sgd(lr = 0.1 * 0.5^floor(epoch / 10))", RATE),
    ("~CosineAnnealingLR|CosineDecay|cosine_decay_schedule|cosine_decay|OneCycleLR({inside})",
     ": sgd(lr = 0.05 * (1 + cos(pi * progress)))", RATE),
    ("~ReduceLROnPlateau({inside})",
     ": sgd(lr = plateau(0.1, by = error, factor = 0.5, patience = 3))",
     "a rate that waits for a watch is plateau"),
    ("~LearningRateScheduler|LambdaLR|Scheduler|get_lr|lr_schedule|schedule({inside})",
     ": sgd(lr = 0.1 * 0.5^floor(epoch / 10))", RATE),
    ("~EarlyStopping|early_stopping({inside})",
     ": until error stalls for 3 epochs",
     "a phase ends by a condition on what it watches"),
    ("~ModelCheckpoint|save|save_weights|dump({inside})", ": checkpoint best by error, in a phase",
     "what is kept of a phase is said by checkpoint; a run saves its end by itself"),
    ("~load_state_dict|load_weights|load_model|restore|loadmat({inside})",
     ': start net := load("net.safetensors"), in a phase; or dln run --from RUN',
     "a phase starts with what a file holds, a run with what another one has learnt"),
    ("True", "1 == 1", TRUTH), ("true|TRUE", "1 == 1", TRUTH),
    ("False", "1 == 0", TRUTH), ("false|FALSE", "1 == 0", TRUTH),
    ("None|null|nil", "", "what has no value is left out"),
    ('float("{f}")', "1e30", "numbers are finite"),
    ("~inf|Inf|INFINITY", "1e30", "numbers are finite"),
    ("lib.e", "exp(1)", "e is exp(1)"), ("PI|M_PI", "pi", "it is called pi"),
    ("range|arange({a})", lambda h: making.upto(h["a"]),
     "a range is written 0..9, both ends included"),
    ("range|arange({a}, {b})", lambda h: making.upto(h["b"], h["a"]),
     "a range is written 1..9, both ends included"),
    ("range|arange({a}, {b}, {c})", lambda h: f"{making.upto(h['b'], h['a'])} by {h['c']}",
     "a range is written 0..8 by 2, both ends included"),
    ("lib.linspace({a}, {b}, {k})", making.spaced, "a list is written with for"),
    ("lib.arange|linspace({inside})", ": [for k in 0..9: 0.1 * k]", "a list is written with for"),
    ("len({a})", ": length(...) of a list, shape(x)[0] of a tensor",
     "the number of entries is length of a list, and a part of the shape of a tensor"),
    ("map({a}, {b})", "[for v in {b}: {a}(v)]", "a list is written with for"),
    ("enumerate|zip({inside})", ": [for k in 0..length(a) - 1: a[k] * b[k]]",
     "lists are gone through by the place"),
    ("float|double|list|tuple({a})", "{a}", ONLY), ("int({a})", "floor({a})", ONLY),
    ("print({inside})", ": emit {inside}", "a task prints with emit, a phase reports with watch"),
    ("~array|asarray|tensor|Tensor|constant|as_tensor|FloatTensor|from_numpy({a}{more})", "{a}",
     "a list of numbers is a tensor"),
    ("{x}.item|numpy|cpu|cuda|float|double|long|contiguous|clone|copy|tolist|eval|half()", "{x}",
     ONLY),
    ("{x}.to|astype|type|cast({inside})", "{x}", ONLY),
    ("~stop_gradient|consider_constant|disconnected_grad({a})", "stop({a})", STOP),
    ("{x}.detach()", "stop({x})", STOP), ("{x}.data", "stop({x})", STOP),
    ("{x}.grad", ": grad(loss, {x}), where loss is what is minimised",
     "a gradient is asked for by what it is of"),
    ("self.{f}({inside})", "{f}({inside})", "a block has no self: its names stand alone"),
    ("self.{f}", "{f}", "a block has no self: its names stand alone"),
    ("self", "", "a block has no self: its names stand alone"),
)  # fmt: skip
SHAPES = (
    ("{x}.view|reshape(-1, {a})", "flatten({x})", FLAT),
    ("{x}.view|reshape({a}, -1)", "flatten({x})", FLAT),
    ("{x}.view|reshape((-1, {a}))", "flatten({x})", FLAT),
    ("{x}.view|reshape(({a}, -1))", "flatten({x})", FLAT),
    ("{x}.view|reshape(-1)", "flatten({x})", FLAT),
    ("{x}.flatten|ravel({inside})", "flatten({x})", FLAT),
    ("~flatten|ravel({a}, {inside})", "flatten({a})", FLAT),
    ("~reshape({a}, (-1, {b}))", "flatten({a})", FLAT),
    ("~reshape({a}, [-1, {b}])", "flatten({a})", FLAT),
    ("~reshape({a}, {b}, -1)", "flatten({a})", FLAT),
    ("«-> »reshape({number}, {inside})", "reshape([{number}, {inside}])",
     "the shape is a list of sizes"),
    ("~reshape({a}, ({inside}))", "reshape({a}, [{inside}])", "the shape is a list of sizes"),
    ("~reshape({a}, {b}, {inside})", "reshape({a}, [{b}, {inside}])",
     "the shape is a list of sizes"),
    ("{x}.view|reshape(-1, {a}, {inside})", "reshape({x}, [{a}, {inside}])",
     "one example has no axis of the batch"),
    ("{x}.view|reshape|resize({number}, {inside})", "reshape({x}, [{number}, {inside}])", SHAPED),
    ("{x}.view|reshape|resize({inside})", "", SHAPED),
    ("~reshape|view|Reshape|expand_dims|squeeze|unsqueeze({inside})", "", SHAPED),
    ("{x}.squeeze|unsqueeze|expand|expand_dims({inside})", "", SHAPED),
    ("~Flatten()({a})", "flatten({a})", FLAT), ("~Flatten()", "flatten", FLAT),
    ("{x}.shape[{a}]", "shape({x})[{a}]", SHAPE), ("{x}.size({a})", "shape({x})[{a}]", SHAPE),
    ("{x}.size()", "shape({x})", SHAPE), ("{x}.shape", "shape({x})", SHAPE),
)  # fmt: skip
DRAWS = (
    (
        "~rand|random|random_sample({inside}) < {a}",
        ": m ~ bernoulli({a} * ones({inside}))",
        "what is drawn has a line of its own, with ~",
    ),
    (
        "~uniform({k}, {b}, {c}) < {a}",
        ": m ~ bernoulli({a} * ones({c}))",
        "what is drawn has a line of its own, with ~",
    ),
    ("~shared|Variable|Parameter({inside})", "", LEARNT),
    ("~randn|standard_normal|random_normal|truncated_normal({inside})", "normal(0, 1)", DRAW),
    ("lib.normal|Normal({a}, {b}, {c})", "normal({a}, {b})", DRAW),
    ("lib.uniform({a}, {b}, {c})", "uniform({a}, {b})", DRAW),
    ("~rand|random_uniform({inside})", "uniform(0, 1)", DRAW),
)
WITHIN = "two values are compared with ==, and a tolerance stands behind within"
OWN = "what there is no function for is a line of fn"
ACTIVATIONS = {
    "relu6": "min(max(a, 0), 6)",
    "leaky_relu|leakyrelu|LeakyReLU|lrelu|prelu": "max(a, 0.01 * a)",
    "elu|ELU": "a if a > 0 else exp(a) - 1",
    "mish|Mish": "a * tanh(softplus(a))",
    "hard_tanh|hardtanh": "max(min(a, 1), -1)",
    "softsign": "a / (1 + abs(a))",
}
ANY: tuple[tuple[str, str | Callable[[dict[str, str]], str | None], str], ...] = (
    ("E|Expectation|expectation({a})", "mean(batch: {a})",
     "an expectation over the examples is a mean over the minibatch"),
    ("N|Normal|Gaussian|gaussian|normal_({a}, {b})", "normal({a}, {b})",
     "a normal draw has its mean, then its deviation"),
    ("U|Uniform|unif({a}, {b})", "uniform({a}, {b})", "a uniform draw has its bounds"),
    ("param|Param|parameter|Parameter|weight|weights|variable|Variable({inside})",
     ": param W[10, 784] ~ glorot(784, 10)", LEARNT),
    ("{x}.params|parameters|num_params|n_params|count_params()", "params({x})", COUNTED),
    ("{x}.params|num_params|n_params|count_params|nparams", "params({x})", COUNTED),
    ("{x}.sample|generate|gibbs|dream|daydream|sample_from({inside})",
     ": gibbs(R, noise(4, 784), 50)",
     "a machine draws by gibbs: the machine, where its chains begin, and the number of steps"),
    ("{x}.hidden|encode|propup|transform|prob_h|h_given_v|sample_h|visible|decode|reconstruct"
     "|propdown|v_given_h|sample_v({inside})",
     ": R.up(x), the means of hidden units, and R.down(h); of a block its own names, net.h",
     "a machine is asked by up, down, free and energy"),
    ("{x}.free_energy|freeEnergy|F({inside})", "{x}.free({inside})",
     "a machine is asked by up, down, free and energy"),
    ("~StandardScaler|MinMaxScaler|Normalizer|Normalize|normalize|normalise|standardize"
     "|standardise|zscore|whiten({inside})",
     ": x[2] = (raw[:2] - [3, 1]) / [2, 0.5], with the means and deviations of the columns",
     "what is done to a field is an equation of it"),
    ("~StandardScaler|MinMaxScaler|train_test_split|KFold|random_split({inside})",
     ": split fit 0.8, valid 0.2, in the data set, and d.fit", PARTS),
    ("{x}.{method}({inside})", making.method, "a function is written before what it is of"),
    ("{g}({inside}).{method}", making.activated, "an activation is an option of a layer"),
    ("lib.{f}({inside})", making.called, "functions are called by their names alone"),
    ("~{f}({inside})", making.other_name,
     "this function has another name here"),
    ("~matmul|dot", ": W @ x", PRODUCT), ("~transpose", ": W'", TRANSPOSE),
    ("~mse|mse_loss|MSELoss|mean_squared_error", ": mean((x - y)^2)",
     "the mean squared error is written out"),
    ("~sizes|dims({inside})", "shape({inside})", "the sizes of a tensor are shape(x)"),
    ("~pow|power|square", ": x^2", "a power is written ^"),
    ("~tan", ": sin(x) / cos(x)", "tan is sin / cos"),
    ("~reshape|view|squeeze|unsqueeze", "", SHAPED),
    ("~concatenate|cat|hstack|vstack", "concat", "concat joins what it is given"),
    *(
        (f"~{k}", f": fn {k.split('|')[0]}(a) = {v}, on a line of its own", OWN)
        for k, v in ACTIVATIONS.items()
    ),
    ("lib.{f}", named, "functions are called by their names alone"),
    ("lib.", ": fn name(a) = ..., where there is none of the library's, "
     "exp, log, sum, mean, max, concat and others",
     "a spec uses no library of Python: what it has stands in a library of its own"),
)  # fmt: skip
# Only where they are refused: elsewhere they mean something.
PLACES = (
    ("scan {f} in range({a}) {", "scan {f} in {a} {", "a scan has a number of steps, or time"),
    ("{x}.final|end|latest|value({a})", "{x}.after({a})", "what there is at the end is after(...)"),
    ("{x}.final|end|latest|value", "{x}", "a watch is its value at the end of its phase"),
    (
        "{x}.num_params|n_params|count_params|num_parameters()",
        "params({x})",
        "the number of parameters is params(net)",
    ),
    (
        "{x}.num_params|n_params|count_params|num_parameters",
        "params({x})",
        "the number of parameters is params(net)",
    ),
    (
        "~num_params|n_params|count_params|num_parameters|nparams({a})",
        "params({a})",
        "the number of parameters is params(net)",
    ),
    (
        "expect {cond} == ~approx({b}, abs|rel|tol|atol = {c})",
        "expect {cond} == {b} within {c}",
        WITHIN,
    ),
    ("expect {cond} == ~approx({b}, {c})", "expect {cond} == {b} within {c}", WITHIN),
    ("expect {cond} == ~approx({b})", "expect {cond} == {b} within 1e-6", WITHIN),
    (
        "expect ~allclose|isclose|array_equal|almost_equal({a}, {b}, tol|atol|rtol|abs_tol = {c})",
        "expect {a} == {b} within {c}",
        WITHIN,
    ),
    (
        "expect ~allclose|isclose|array_equal|almost_equal({a}, {b}{more})",
        "expect {a} == {b} within 1e-6",
        WITHIN,
    ),
    ("{x}[{index}:end]", "{x}[{index}:]", "a slice to the end has no stop"),
    ("batch full|whole|entire", "batch all", "all examples at once are batch all"),
    ("for one {unit}", "for 1 {unit}", "a time has a number"),
    ("~max({a}, {k})[1]", "argmax({a})", "the place of the largest is argmax"),
    ("sum({a}, {k})", lambda h: making.along({**h, "f": "sum"}), OF_ONE),
    ("mean({a}, {k})", lambda h: making.along({**h, "f": "mean"}), OF_ONE),
    ("sum|mean({a}, {k})", ": sum(j: W[i, j]), or sum(x)", OF_ONE),
    ("for {f} in {timed} {", "scan {f} in time {", "what runs over time is a scan"),
    (
        "{x}[{index}..{k}]",
        lambda h: f"{h['x']}[{h['index'].strip('0')}:{int(h['k']) + 1}]",
        "a stretch is written with a colon, and its stop is excluded: x[0:2] has two entries",
    ),
    ("mean({a}, batch)", "mean(batch: {a})", AXIS),
    ("sum({a}, batch)", "sum(batch: {a})", AXIS),
    ("mean({a}, time)", "mean(time: {a})", AXIS),
    ("sum({a}, time)", "sum(time: {a})", AXIS),
    ("~no_grad|inference_mode|eval_mode({a})", "{a}", "a watch moves nothing, and keeps nothing"),
    (
        "~count|count_params|num_params|n_params|nparams|number_of_parameters({a})",
        "params({a})",
        COUNTED,
    ),
    ("{x}.summary|count_params|num_params()", "params({x})", COUNTED),
    ("onehot|one_hot({a}, {b}{more})", "onehot({a})", "a class says itself how many there are"),
    ("onehot({a})", "{a}", "the class itself is meant here, not its row of 0 and 1"),
    ("«act = »None|null", "id", "without a function stands id, or nothing"),
    ("«activation = »None|null", "id", "without a function stands id, or nothing"),
    ("{x}[None|newaxis, :]{reckoned}", ": y[i, j] = x[j] - c[i, j]", MET),
    ("{x}[:, None|newaxis{inside}]", ": y[i, j] = x[i] - c[j]", MET),
    ("{x}[None|newaxis, :]", "{x}", "all is of one example: there is no axis of the batch to add"),
    ("{x}[np.newaxis, :]", "{x}", "all is of one example: there is no axis of the batch to add"),
    ("concat({all}, axis|dim = {k})", making.joined, JOIN),
    ("dropout(rate|prob|drop_prob = {a})", "dropout({a})", "dropout has x and p"),
    ("dropout({a}, rate|prob|drop_prob = {b})", "dropout({a}, {b})", "dropout has x and p"),
    ("csv|read_csv|loadtxt|genfromtxt({a}{more})", "table({a})", "a file of columns is a table"),
    ("glorot_uniform|xavier_uniform|glorot_normal|xavier_normal|xavier|Xavier", "glorot", FIRST),
    ("he_normal|he_uniform|kaiming_normal|kaiming_uniform|kaiming|HeNormal", "he", FIRST),
    ("lecun_normal|lecun_uniform|lecun", "fan_in", FIRST),
    ("concat([{inside}])", "concat({inside})", JOIN),
)
# Rows whose advice other tables give more exactly.
WEAK = frozenset(Idiom(*row) for table in (LOSSES, LAYERS, ANY) for row in table)
TABLES = (PRODUCTS, SHAPES, NUMBERS, VALUES, DRAWS, LOSSES, LAYERS, ANY)
ROWS = tuple(Idiom(*row) for table in TABLES for row in table)
ADVISED = tuple(
    row
    for row in ROWS
    if (isinstance(row.here, str) and row.here.startswith(":")) and row.form[:1] in "~lib"
)
REFUSED = (*(Idiom(*row) for row in (*STEPS, *PLACES)), *ROWS)
