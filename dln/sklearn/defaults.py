"""The specs of estimators that are given none: two layers for a table of numbers."""

CLASSIFIER = """\
const hidden = 100, rate = 0.005, epochs = 200
data d = given(x[n], label: class(k), weight)
let net = chain([dense(hidden, act = relu), dense(k)])

train fit on d batch 200 for epochs epochs {
  minimize weight * cross_entropy(net(x), label) over net with adam(lr = rate)
}
"""

REGRESSOR = """\
const hidden = 100, rate = 0.005, epochs = 200
data d = given(x[n], y[m], weight)
let net = chain([dense(hidden, act = relu), dense(m)])

train fit on d batch 200 for epochs epochs {
  minimize weight * sum((net(x) - y)^2) / 2 over net with adam(lr = rate)
}
"""

TRANSFORMER = """\
const codes = 2, hidden = 50, rate = 0.005, epochs = 200
data d = given(x[n], weight)
let encode = chain([dense(hidden, act = tanh), dense(codes)])
let decode = chain([dense(hidden, act = tanh), dense(n)])

train fit on d batch 200 for epochs epochs {
  minimize weight * sum((decode(encode(x)) - x)^2) / 2 over encode, decode with adam(lr = rate)
}
"""
