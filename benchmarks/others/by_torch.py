"""The networks in PyTorch, in double precision, by the names that dln has for their parameters:
what these are after some updates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import relu

Params = dict[str, Any]
Loss = Callable[..., Any]
ADAM = ("deep_autoencoder", "gelu", "language", "perceptron_adam", "regression")
RATES = {"skipgram": 0.1, "decoder": 0.001}  # else 0.01


def dense(p: Params, x: Any, name: str) -> Any:
    return x @ p[f"{name}.W"].T + p[f"{name}.b"]


def conv(p: Params, x: Any, name: str, border: int = 0, stride: int = 1, groups: int = 1) -> Any:
    kernel = p[f"{name}.K"]
    kernel = kernel[:, None] if groups > 1 else kernel
    return F.conv2d(x, kernel, p[f"{name}.b"], padding=border, stride=stride, groups=groups)


def same(x: Any) -> Any:
    return x


def classes(net: Callable[[Params, Any], Any]) -> Loss:
    return lambda p, x, label: F.cross_entropy(net(p, x), label)


def layers(*acts: Callable[[Any], Any], name: str = "net.y") -> Callable[[Params, Any], Any]:
    def net(p: Params, x: Any) -> Any:
        for k, act in enumerate(acts):
            x = act(dense(p, x, f"{name}[{k}]" if len(acts) > 1 else name))
        return x

    return net


def squares(net: Callable[[Params, Any], Any]) -> Loss:
    return lambda p, x, *t: ((net(p, x) - (t[0] if t else x)) ** 2).sum(1).mean() / 2


def norm(p: Params, x: Any, name: str) -> Any:
    far, var = x - x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return p[f"{name}.g"] * far / (var + 1e-5).sqrt() + p[f"{name}.b"]


def lstm(p: Params, x: Any, name: str) -> Any:
    w, u, b = (p[f"{name}.{k}"] for k in "WUb")
    h = c = torch.zeros(len(x), u.shape[1])
    out = []
    for at in x.unbind(1):
        a = torch.einsum("gmn,bn->gbm", w, at) + torch.einsum("gmn,bn->gbm", u, h) + b[:, None]
        i, f, o = torch.sigmoid(a[:3])
        c = f * c + i * torch.tanh(a[3])
        h = o * torch.tanh(c)
        out.append(h)
    return torch.stack(out, 1)


def gru(p: Params, x: Any, name: str) -> Any:
    w, u, b, wh, uh, bh = (p[f"{name}.{k}"] for k in ("W", "U", "b", "Wh", "Uh", "bh"))
    h, out = torch.zeros(len(x), len(uh)), []
    for at in x.unbind(1):
        a = torch.einsum("gmn,bn->gbm", w, at) + torch.einsum("gmn,bn->gbm", u, h) + b[:, None]
        z, r = torch.sigmoid(a)
        h = z * h + (1 - z) * torch.tanh(at @ wh.T + (r * h) @ uh.T + bh)
        out.append(h)
    return torch.stack(out, 1)


def elman(p: Params, x: Any) -> Any:
    h = torch.zeros(len(x), 64)
    for at in x.unbind(1):
        h = torch.tanh(at @ p["net.y[0].Wx"].T + h @ p["net.y[0].Wh"].T + p["net.y[0].b"])
    return dense(p, h, "net.y[1]")


def convolutions(p: Params, x: Any) -> Any:
    x = F.max_pool2d(relu(conv(p, x, "net.y[0]", 1)), 2)
    x = F.max_pool2d(relu(conv(p, x, "net.y[2]", 1)), 2)
    return dense(p, relu(dense(p, x.flatten(1), "net.y[4]")), "net.y[5]")


def cifar(p: Params, x: Any) -> Any:
    for k in (0, 2, 4):
        x = F.max_pool2d(relu(conv(p, x, f"net.y[{k}]", 2)), 2)
    return dense(p, x.flatten(1), "net.y[6]")


def strides(p: Params, x: Any) -> Any:
    for k in range(3):
        x = relu(conv(p, x, f"net.y[{k}]", stride=2))
    return dense(p, x.flatten(1), "net.y[3]")


def residual(p: Params, x: Any) -> Any:
    first, second = sorted({k[:-2] for k in p if k.endswith(".K")})
    x = relu(x + conv(p, x, first, 1))
    x = relu(x + conv(p, x, second, 1))
    return dense(p, x.mean((2, 3)), next(k[:-2] for k in p if k.endswith(".W")))


def conv1d(p: Params, x: Any) -> Any:
    for k in range(2):
        x = relu(F.conv1d(x, p[f"net.y[{k}].K"], p[f"net.y[{k}].b"]))
    return dense(p, x.flatten(1), "net.y[2]")


def depthwise(p: Params, x: Any) -> Any:
    x = relu(conv(p, x, "net.y[0]", 1, groups=8))
    x = relu(conv(p, relu(conv(p, x, "net.y[1]")), "net.y[2]", 1, groups=16))
    return dense(p, x.mean((2, 3)), "net.y[4]")


def batch_norm(p: Params, x: Any) -> Any:
    for k, name in enumerate(sorted({k[:-2] for k in p if k.endswith(".K")})):
        x = conv(p, x, name, 1)
        by = norms(p)[k]
        x = relu(F.batch_norm(x, None, None, p[f"{by}.g"], p[f"{by}.b"], True, eps=1e-5))
        x = F.max_pool2d(x, 2) if k == 0 else x.mean((2, 3))
    return dense(p, x, max(k[:-2] for k in p if k.endswith(".W")))


def overlapping(p: Params, x: Any) -> Any:
    for k in (0, 2):
        x = F.max_pool2d(relu(conv(p, x, f"net.y[{k}]")), 3, 2)
    return dense(p, x.flatten(1), "net.y[4]")


def attention(p: Params, x: Any) -> Any:
    name = next(k[:-2] for k in p if k.endswith(".Q"))
    queries, keys, values, out = (p[f"{name}.{k}"] for k in "QKVO")
    q, k, v = (torch.einsum("hln,btn->bthl", w, x) for w in (queries, keys, values))
    weights = torch.softmax(torch.einsum("bthl,brhl->bhtr", q, k) / 8**0.5, -1)
    seen = torch.einsum("bhtr,brhl->bthl", weights, v)
    x = norm(p, x + torch.einsum("ihl,bthl->bti", out, seen), norms(p)[0])
    return dense(p, x.mean(1), "net.y")


def norms(p: Params) -> list[str]:
    return [k[:-2] for k in p if k.endswith(".g")]


def bilstm(p: Params, x: Any) -> Any:
    ahead, back = sorted({k[:-2] for k in p if k.endswith(".U")})
    seen = [lstm(p, x, ahead), lstm(p, x.flip(1), back).flip(1)]
    return dense(p, torch.cat(seen, -1).mean(1), next(
        k[:-2] for k in p if k.endswith(".W") and p[k].dim() == 2))  # fmt: skip


def gelu(p: Params, x: Any) -> Any:
    h = norm(p, F.leaky_relu(dense(p, x, "net.y[0]"), 0.01), "net.y[1]")
    return dense(p, F.gelu(dense(p, h, "net.y[2]")), "net.y[3]")


def language(p: Params, c: Any, t: Any) -> Any:
    z = dense(p, gru(p, p["net.z[0].E"][c], "net.z[1]"), "net.z[2]")
    return F.cross_entropy(z.reshape(-1, 65), t.reshape(-1))


def decoder(p: Params, z: Any, x: Any) -> Any:
    names = sorted({k[:-2] for k in p if k.endswith(".K")})
    h = relu(dense(p, z, next(k[:-2] for k in p if k.endswith(".W")))).reshape(-1, 16, 7, 7)
    for name, act in zip(names, (relu, torch.sigmoid), strict=True):
        kernel = p[f"{name}.K"].transpose(0, 1)
        h = act(F.conv_transpose2d(h, kernel, p[f"{name}.b"], 2, 1))
    return ((h - x) ** 2).sum((1, 2, 3)).mean()


def skipgram(p: Params, c: Any, o: Any, k: Any) -> Any:
    a, b = p["a.v.E"], p["b.v.E"]
    far = F.logsigmoid(-(a[c] * b[k]).sum(1))
    return -(F.logsigmoid((a[c] * b[o]).sum(1)) + far).mean()


LOSSES: dict[str, Loss] = {
    "attention": classes(attention),
    "batch_norm": classes(batch_norm),
    "bilstm": classes(bilstm),
    "cifar": classes(cifar),
    "classes": classes(layers(torch.tanh, same)),
    "conv1d": classes(conv1d),
    "convolutions": classes(convolutions),
    "convolutions_one": classes(convolutions),
    "decoder": decoder,
    "deep_autoencoder": squares(layers(relu, same, relu, torch.sigmoid)),
    "depthwise": classes(depthwise),
    "gelu": classes(gelu),
    "gru": classes(lambda p, x: dense(p, gru(p, x, "net.y[0]")[:, -1], "net.y[1]")),
    "language": language,
    "lstm_one": classes(lambda p, x: dense(p, lstm(p, x, "net.y[0]")[:, -1], "net.y[1]")),
    "overlapping": classes(overlapping),
    "perceptron": classes(layers(relu, relu, relu, same)),
    "perceptron_adam": classes(layers(relu, relu, relu, same)),
    "regression": squares(layers(torch.tanh, torch.tanh, same)),
    "residual": classes(residual),
    "rnn": classes(elman),
    "sigmoids": classes(layers(torch.sigmoid, same)),
    "skipgram": skipgram,
    "softmax": classes(layers(same)),
    "strides": classes(strides),
}


def work(given: list[str]) -> None:
    """Read first parameters and examples of a network from a file, do so many updates of so many
    examples, and write the parameters and the losses to `found.npz` beside it."""
    name, file, batch, updates = given[0], Path(given[1]), int(given[2]), int(given[3])
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    held = dict(np.load(file))
    p = {k[2:]: torch.tensor(v, requires_grad=True) for k, v in held.items() if k[0] == "p"}
    rows = [v.astype(float) if v.dtype.kind == "f" else v for k, v in held.items() if k[0] == "d"]
    rate = RATES.get(name, 0.01)
    by = torch.optim.Adam(p.values(), 1e-3) if name in ADAM else torch.optim.SGD(p.values(), rate)
    losses = []
    for i in range(updates):
        by.zero_grad()
        loss = LOSSES[name](p, *(torch.tensor(r[i * batch : i * batch + batch]) for r in rows))
        loss.backward()
        by.step()
        losses.append(float(loss.detach()))
    np.savez(file.with_name("found.npz"), losses=losses, **{k: v.detach() for k, v in p.items()})
    print(json.dumps({"losses": losses}))
