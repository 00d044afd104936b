"""Optimisers step as their papers say; schedules have exact values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, StepLR

from mien.errors import MienError
from mien.optimizers import adam, adamw, constant, cosine, muon, orthogonal, sgd, step
from mien.registry import build, entry, names

GRADIENTS = [np.array([0.5, -2.0, 0.0]), np.array([0.1, 1.0, 3.0]), np.array([-1.0, 0.2, 0.3])]
START = np.array([1.0, -1.0, 0.5])


def after(optimizer_of):
    """The weights after a step for each of GRADIENTS."""
    weights = torch.nn.Parameter(torch.tensor(START, dtype=torch.float64))
    optimizer = optimizer_of([weights])
    for gradient in GRADIENTS:
        weights.grad = torch.tensor(gradient)
        optimizer.step()
    return weights.detach().numpy()


def test_sgd_agrees_with_numpy():
    w, velocity = START.copy(), np.zeros(3)
    for gradient in GRADIENTS:
        gradient = gradient + 0.01 * w
        velocity = 0.8 * velocity + gradient
        w -= 0.1 * (gradient + 0.8 * velocity)
    found = after(lambda parameters: sgd(parameters, lr=0.1, momentum=0.8, weight_decay=0.01))
    np.testing.assert_allclose(found, w, rtol=1e-9)


def by_numpy(weight_decay, decoupled):
    w, first, second = START.copy(), np.zeros(3), np.zeros(3)
    for number, gradient in enumerate(GRADIENTS, start=1):
        if decoupled:
            w -= 0.1 * weight_decay * w
        else:
            gradient = gradient + weight_decay * w
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        w -= 0.1 * (first / (1 - 0.8**number)) / (np.sqrt(second / (1 - 0.9**number)) + 1e-6)
    return w


@pytest.mark.parametrize(("optimizer", "decoupled"), [(adam, False), (adamw, True)])
def test_adam_agrees_with_numpy(optimizer, decoupled):
    found = after(lambda parameters: optimizer(parameters, lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.3))
    np.testing.assert_allclose(found, by_numpy(0.3, decoupled), rtol=1e-6)


def test_muon_moves_all_but_kernels_as_adamw():
    def of(parameters):
        return muon(parameters, adamw_lr=0.1, betas=(0.8, 0.9), eps=1e-6)

    np.testing.assert_allclose(after(of), by_numpy(0.0, decoupled=True), rtol=1e-6)


def test_muon_moves_kernels_by_the_orthogonal_of_nesterovs_momentum():
    torch.manual_seed(0)
    kernel = torch.nn.Parameter(torch.randn(6, 2, 3, 3))
    start, gradients = kernel.detach().clone(), [torch.randn(6, 2, 3, 3) for _ in range(3)]
    optimizer = muon([kernel], lr=0.1, momentum=0.8, weight_decay=0.5)
    for gradient in gradients:
        kernel.grad = gradient.clone()
        optimizer.step()
    w, momentum = start.numpy().copy(), np.zeros((6, 2, 3, 3), np.float32)
    for gradient in gradients:
        momentum = 0.8 * momentum + gradient.numpy()
        u, _, v = np.linalg.svd((gradient.numpy() + 0.8 * momentum).reshape(6, 18), full_matrices=False)
        w = w * (1 - 0.1 * 0.5) - 0.1 * (u @ v).reshape(6, 2, 3, 3)
    # Newton and Schulz's five steps leave singular values from .68 to 1.14.
    assert np.linalg.norm(kernel.detach().numpy() - w) < 0.35 * np.linalg.norm(w - start.numpy())


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    scale=st.sampled_from([1e-4, 1.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_orthogonal_keeps_the_directions_and_evens_their_sizes(rows, columns, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    wide = torch.linalg.qr(torch.randn(max(rows, columns), min(rows, columns), generator=generator))[0]
    matrix = wide if rows > columns else wide.T
    found = orthogonal(scale * matrix)
    assert found.shape == matrix.shape
    # From equal singular values come equal ones: what is left is a factor, and rounding.
    factor = (found * matrix).sum() / matrix.square().sum()
    assert 0.6 < factor < 1.25
    assert (found - factor * matrix).norm() < 1e-4 * found.norm()


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99), small=st.floats(1e-6, 1.0))
def test_orthogonal_is_newtons_and_schulzs_iteration_on_the_whole_matrix(rows, columns, seed, small):
    random = np.random.default_rng(seed)
    given = random.normal(size=(rows, columns)) * np.geomspace(1, small, columns)
    x = given / np.linalg.norm(given)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    found = orthogonal(torch.from_numpy(given).float()).numpy()
    assert np.linalg.norm(found - x) < 2e-3 * np.linalg.norm(x)


def test_muon_sorts_parameters_by_kind():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Conv2d(4, 4, 3),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 2),
    )
    groups = muon(model.parameters(), adamw_weight_decay=0.3).param_groups
    assert [(group["kernels"], group["weight_decay"], len(group["params"])) for group in groups] == [
        (True, 0.01, 1),
        (False, 0.3, 2),
        (False, 0.0, 5),
    ]


def test_defaults():
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    shown = ("lr", "momentum", "nesterov", "betas", "eps", "weight_decay")
    assert [
        {key: one.defaults[key] for key in shown if key in one.defaults}
        for one in (sgd(parameters, lr=0.1), adam(parameters), adamw(parameters))
    ] == [
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0},
        {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0},
        {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01},
    ]


def test_nesterov_without_momentum_is_an_error():
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    assert sgd(parameters, lr=0.1, momentum=0.0, nesterov=False).defaults["momentum"] == 0
    with pytest.raises(MienError) as error:
        sgd(parameters, lr=0.1, momentum=0.0)
    assert str(error.value) == (
        "optimizer.nesterov: nesterov needs momentum; expected nesterov: false, or a momentum above 0"
    )


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("optimizer", "sgd", {}),
        ("optimizer", "sgd", {"lr": 0}),
        ("optimizer", "sgd", {"lr": 0.1, "momentum": 1.0}),
        ("optimizer", "adam", {"lr": float("inf")}),
        ("optimizer", "adam", {"lr": float("nan")}),
        ("optimizer", "adam", {"betas": [0.9]}),
        ("optimizer", "adam", {"betas": [0.9, 1.0]}),
        ("optimizer", "adamw", {"weight_decay": -0.1}),
        ("optimizer", "adamw", {"eps": 0}),
        ("optimizer", "adamw", {"parameters": []}),
        ("schedule", "constant", {"gamma": 0.1}),
        ("schedule", "step", {}),
        ("schedule", "step", {"every": 0}),
        ("schedule", "step", {"every": 1, "gamma": 1.1}),
        ("schedule", "cosine", {"warmup_epochs": -1}),
        ("schedule", "cosine", {"final": 1.1}),
        ("schedule", "cosine", {"total_steps": 10}),
    ],
)
def test_what_a_file_may_not_say(kind, name, wrong):
    with pytest.raises(ValidationError):
        entry(kind, name).spec(**wrong)


def test_in_a_file():
    assert {"sgd", "adam", "adamw", "muon"} <= set(names("optimizer"))
    assert {"constant", "step", "cosine"} <= set(names("schedule"))
    optimizer = build(
        "optimizer",
        entry("optimizer", "adam").spec(lr=1e-4, betas=[0.8, 0.9]),
        parameters=[torch.nn.Parameter(torch.zeros(1))],
    )
    assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (1e-4, (0.8, 0.9))
    factor = build("schedule", entry("schedule", "step").spec(every=3), steps_per_epoch=10, total_steps=100)
    assert factor(30) == 0.1


def test_constant():
    assert [constant()(number) for number in (0, 1, 10**6)] == [1.0, 1.0, 1.0]


def rates(scheduler_of, steps):
    """The learning rates that a torch scheduler gives to a rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, out = scheduler_of(optimizer), []
    for _ in range(steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return out


def test_step_agrees_with_torchs():
    found = rates(lambda optimizer: LambdaLR(optimizer, step(steps_per_epoch=3, every=2, gamma=0.5)), 20)
    assert found == pytest.approx(rates(lambda optimizer: StepLR(optimizer, step_size=6, gamma=0.5), 20), rel=1e-12)


def test_cosine_agrees_with_torchs():
    found = rates(lambda optimizer: LambdaLR(optimizer, cosine(steps_per_epoch=5, total_steps=20, final=0.1)), 21)
    theirs = rates(lambda optimizer: CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1), 21)
    assert found == pytest.approx(theirs, rel=1e-9)
    assert (found[0], found[10], found[20]) == pytest.approx((1.0, 0.55, 0.1))


def test_cosine_warms_up_in_even_steps_to_the_full_rate():
    factor = cosine(steps_per_epoch=4, total_steps=20, warmup_epochs=1)
    assert [factor(number) for number in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0], rel=1e-12)
    assert factor(12) == pytest.approx(0.5)
    assert factor(20) == factor(25) == 0.0


def test_a_warm_up_must_leave_steps_to_train():
    assert cosine(steps_per_epoch=4, total_steps=8, warmup_epochs=1.75)(7) == 1.0
    with pytest.raises(MienError) as error:
        cosine(steps_per_epoch=4, total_steps=8, warmup_epochs=2)
    assert str(error.value) == (
        "schedule.warmup_epochs: the warm-up of 8 steps is as long as the training of 8; expected fewer than 2 epochs"
    )
    with pytest.raises(MienError, match="the warm-up of 12 steps is longer than the training of 8"):
        cosine(steps_per_epoch=4, total_steps=8, warmup_epochs=3)


@given(st.integers(1, 50), st.integers(1, 20), st.floats(0, 1), st.data())
def test_cosine_rises_then_falls_and_stays_between_its_ends(steps_per_epoch, epochs, final, data):
    total = steps_per_epoch * epochs
    warmup = data.draw(st.integers(0, total - 1))
    factor = cosine(steps_per_epoch, total, warmup_epochs=warmup / steps_per_epoch, final=final)
    values = [factor(number) for number in range(total + 3)]
    assert values[warmup] == pytest.approx(1.0)
    assert all(0 < value < 1 for value in values[:warmup])
    assert values[:warmup] == sorted(values[:warmup])
    assert values[warmup:] == sorted(values[warmup:], reverse=True)
    assert values[total] == pytest.approx(final)
    assert min(values[warmup:]) >= final - 1e-12
