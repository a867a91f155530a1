"""PyTorch: eager with its fused optimisers, and whole steps under `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.comparison.work import Running, Work

DEALT = False
Params = dict[str, Any]


def version() -> str:
    return str(torch.__version__)


def make(work: Work, variant: str, threads: int) -> Running:
    torch.set_num_threads(threads)
    batches = [tuple(map(torch.from_numpy, b)) for b in work.batches]
    p: Params = {k: torch.from_numpy(v.copy()) for k, v in work.params.items()}
    compiled = variant == "compiled"
    if work.infer:
        run = torch.compile(NETS[work.kind]) if compiled else NETS[work.kind]
        layers(p)
        return Running(inference(run, p, batches), lambda y: float(y.sum()))
    if work.kind == "rbm":
        return Running(machine(work, p, batches, compiled))
    if work.kind == "lstm":
        return Running(recurrent(work, p, batches), detached)
    layers(p)
    return Running(trained(work, p, batches, compiled), detached)


def detached(loss: Any) -> float:
    return float(loss.detach())


def layers(p: Params) -> None:
    """The weights of layers as `nn.Linear` stores them, [out, in]."""
    for name in p:
        if name.startswith("W"):
            p[name] = p[name].t().contiguous()


# ---- networks and losses -----------------------------------------------------------------------


def mlp(p: Params, x: Any) -> Any:
    return torch.sigmoid(F.linear(torch.sigmoid(F.linear(x, p["W1"], p["b1"])), p["W2"], p["b2"]))


def lenet(p: Params, x: Any) -> Any:
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, p["C1"], p["c1"])), 2)
    x = F.avg_pool2d(torch.tanh(F.conv2d(x, p["C3"], p["c3"])), 2).flatten(1)
    x = torch.tanh(F.linear(x, p["W5"], p["b5"]))
    x = torch.tanh(F.linear(x, p["W6"], p["b6"]))
    return F.linear(x, p["W7"], p["b7"])


def mlp_loss(p: Params, x: Any, t: Any) -> Any:
    return F.mse_loss(mlp(p, x), t, reduction="sum") * (0.5 / x.shape[0])


def lenet_loss(p: Params, x: Any, t: Any) -> Any:
    return F.cross_entropy(lenet(p, x), t)


def autoencoder_loss(p: Params, x: Any) -> Any:
    z = F.linear(torch.sigmoid(F.linear(x, p["W1"], p["b1"])), p["W2"], p["b2"])
    return F.binary_cross_entropy_with_logits(z, x, reduction="sum") / x.shape[0]


NETS: dict[str, Callable[..., Any]] = {"mlp": mlp, "lenet": lenet}
LOSSES: dict[str, Callable[..., Any]] = {
    "mlp": mlp_loss,
    "lenet": lenet_loss,
    "autoencoder": autoencoder_loss,
}


# ---- steps -------------------------------------------------------------------------------------


def inference(run: Any, p: Params, batches: list[Any]) -> Callable[[int], Any]:
    def call(i: int) -> Any:
        with torch.inference_mode():
            return run(p, batches[i][0])

    return call


def trained(work: Work, p: Params, batches: list[Any], compiled: bool) -> Callable[[int], Any]:
    loss, rate = LOSSES[work.kind], work.hyper["lr"]
    if compiled:

        def whole(*batch: Any) -> Any:
            slopes, value = torch.func.grad_and_value(loss)(p, *batch)
            for name, slope in slopes.items():
                p[name].sub_(slope, alpha=rate)
            return value

        step = torch.compile(whole)
        return lambda i: step(*batches[i])
    for tensor in p.values():
        tensor.requires_grad_()
    how = {"foreach": True} if work.kind == "lenet" else {"fused": True}  # the faster one there
    sgd = torch.optim.SGD(p.values(), rate, **how)

    def eager(i: int) -> Any:
        sgd.zero_grad()
        value = loss(p, *batches[i])
        value.backward()
        sgd.step()
        return value

    return eager


def machine(work: Work, p: Params, batches: list[Any], compiled: bool) -> Callable[[int], Any]:
    W, a, b = p["W"], p["a"], p["b"]
    rate = work.hyper["lr"] / work.size("B")

    def contrast(v: Any) -> Any:
        h = torch.sigmoid(torch.addmm(b, v, W))
        drawn = (torch.rand_like(h) < h).float()
        seen = torch.sigmoid(torch.addmm(a, drawn, W.t()))
        model = (torch.rand_like(seen) < seen).float()
        again = torch.sigmoid(torch.addmm(b, model, W))
        W.addmm_(v.t(), h, alpha=rate)
        W.addmm_(model.t(), again, alpha=-rate)
        a.add_((v - model).sum(0), alpha=rate)
        b.add_((h - again).sum(0), alpha=rate)
        return ((v - seen) ** 2).sum() / v.shape[0]

    step = torch.compile(contrast) if compiled else contrast

    def call(i: int) -> Any:
        with torch.no_grad():
            return step(batches[i][0])

    return call


def recurrent(work: Work, p: Params, batches: list[Any]) -> Callable[[int], Any]:
    layers, size, letters = work.size("L"), work.size("H"), work.size("V")
    net, out = torch.nn.LSTM(letters, size, layers), torch.nn.Linear(size, letters)
    with torch.no_grad():
        for k in range(layers):
            getattr(net, f"weight_ih_l{k}").copy_(p[f"Wx{k}"].t())
            getattr(net, f"weight_hh_l{k}").copy_(p[f"Wh{k}"].t())
            getattr(net, f"bias_ih_l{k}").copy_(p[f"b{k}"])
            getattr(net, f"bias_hh_l{k}").zero_().requires_grad_(False)  # it has two of each
        out.weight.copy_(p["Wy"].t())
        out.bias.copy_(p["by"])
    moved = [q for q in [*net.parameters(), *out.parameters()] if q.requires_grad]
    h = work.hyper
    rms = torch.optim.RMSprop(moved, h["lr"], alpha=h["rho"], eps=h["eps"], foreach=True)

    def call(i: int) -> Any:
        x, y = batches[i]
        rms.zero_grad()
        left, _ = net(F.one_hot(x, letters).float())
        value = F.cross_entropy(out(left).flatten(0, 1), y.flatten())
        value.backward()
        rms.step()
        return value

    return call
