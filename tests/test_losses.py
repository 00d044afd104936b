"""The losses against a second implementation in numpy, and scikit-learn's class weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from mien.errors import MienError
from mien.losses import CrossEntropy, MeanAbsoluteError, MeanSquaredError, SoftCrossEntropy, Wing
from mien.registry import build, entry

COUNTS = [5, 1, 2, 4]
CLASSES = len(COUNTS)


def by_numpy(logits, votes, weights, smoothing):
    """Cross entropy of float64 votes, averaged by the weights of the votes."""
    surprise = np.log(np.exp(logits).sum(axis=1, keepdims=True)) - logits
    smooth = votes * (1 - smoothing) + smoothing / votes.shape[1]
    return (smooth * weights * surprise).sum() / (votes * weights).sum()


logits_of = arrays.arrays(np.float64, (6, CLASSES), elements=st.floats(-5, 5))
weights_of = st.none() | st.tuples(*[st.floats(0.1, 10)] * CLASSES)
smoothings = st.sampled_from([0.0, 0.1, 1.0])


@settings(deadline=None)
@given(logits_of, st.lists(st.integers(0, CLASSES - 1), min_size=6, max_size=6), weights_of, smoothings)
def test_cross_entropy_agrees_with_numpy(logits, labels, weights, smoothing):
    loss = CrossEntropy(CLASSES, COUNTS, label_smoothing=smoothing, class_weights=weights)
    found = loss(torch.tensor(logits, dtype=torch.float32), torch.tensor(labels))
    expected = by_numpy(logits, np.eye(CLASSES)[labels], np.ones(CLASSES) if weights is None else weights, smoothing)
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@settings(deadline=None)
@given(logits_of, arrays.arrays(np.int64, (6, CLASSES), elements=st.integers(0, 10)), weights_of, smoothings)
def test_soft_cross_entropy_agrees_with_numpy(logits, counts, weights, smoothing):
    counts[:, 0] += counts.sum(axis=1) == 0
    votes = counts / counts.sum(axis=1, keepdims=True)
    loss = SoftCrossEntropy(CLASSES, COUNTS, label_smoothing=smoothing, class_weights=weights)
    found = loss(torch.tensor(logits, dtype=torch.float32), torch.tensor(votes, dtype=torch.float32))
    expected = by_numpy(logits, votes, np.ones(CLASSES) if weights is None else weights, smoothing)
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("weights", [None, "balanced", (1.0, 2.0, 3.0, 4.0)])
def test_where_all_raters_agree_soft_is_hard(weights):
    torch.manual_seed(0)
    logits, labels = torch.randn(8, CLASSES), torch.randint(CLASSES, (8,))
    options = {"label_smoothing": 0.2, "class_weights": weights}
    hard = CrossEntropy(CLASSES, COUNTS, **options)(logits, labels)
    soft = SoftCrossEntropy(CLASSES, COUNTS, **options)(logits, torch.nn.functional.one_hot(labels, CLASSES))
    torch.testing.assert_close(soft, hard)


def test_a_chance_model_scores_the_logarithm_of_the_classes():
    assert CrossEntropy(7, [1] * 7)(torch.zeros(3, 7), torch.tensor([0, 3, 6])).item() == pytest.approx(np.log(7))


@pytest.mark.parametrize("loss", [CrossEntropy, SoftCrossEntropy])
class TestBoth:
    def test_balanced_weights_are_scikit_learns(self, loss):
        labels = np.repeat(np.arange(CLASSES), COUNTS)
        expected = compute_class_weight("balanced", classes=np.arange(CLASSES), y=labels)
        weight = loss(CLASSES, COUNTS, class_weights="balanced").weight
        assert weight.dtype == torch.float32
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-6)

    def test_a_class_without_images_has_no_balanced_weight(self, loss):
        with pytest.raises(MienError) as error:
            loss(3, [4, 0, 2], class_weights="balanced")
        assert str(error.value) == (
            "loss.class_weights: no image to fit is of class 1, so its balanced weight would be infinite"
            "; expected a list of weights, or images of every class"
        )
        assert loss(3, [4, 0, 2], class_weights=(1, 1, 1)).weight.tolist() == [1, 1, 1]

    def test_as_many_weights_as_classes(self, loss):
        with pytest.raises(MienError) as error:
            loss(3, [1, 1, 1], class_weights=(1.0, 2.0))
        assert str(error.value) == "loss.class_weights: 2 weights for 3 classes; expected 3 weights"

    def test_it_is_computed_in_float32_whatever_the_logits_are(self, loss):
        one = loss(2, [1, 1])
        logits = torch.tensor([[3.0, -3.0]])
        targets = torch.tensor([0]) if one.targets == "label" else torch.tensor([[1.0, 0.0]])
        found = one(logits.bfloat16(), targets)
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(np.log1p(np.exp(-6)), rel=1e-4)

    def test_its_weights_follow_it_to_a_device_and_stay_out_of_checkpoints(self, loss):
        one = loss(2, [1, 3], class_weights="balanced")
        assert [name for name, _ in one.named_buffers()] == ["weight"]
        assert one.state_dict() == {}


def test_what_they_want_as_targets():
    assert CrossEntropy.targets == "label"
    assert SoftCrossEntropy.targets == "votes"
    assert {one.targets for one in (MeanSquaredError, MeanAbsoluteError, Wing)} == {"points"}


@pytest.mark.parametrize("name", ["cross_entropy", "soft_cross_entropy"])
def test_in_a_file(name):
    spec = entry("loss", name).spec
    built = build("loss", spec(class_weights=[1, 2], label_smoothing=0.1), num_classes=2, class_counts=[1, 1])
    assert built.weight.tolist() == [1, 2]
    assert built.label_smoothing == 0.1
    assert spec(class_weights="balanced").parameters == {"label_smoothing": 0.0, "class_weights": "balanced"}
    for wrong in ({"label_smoothing": 1.1}, {"class_weights": "even"}, {"class_weights": [0, 1]}, {"gamma": 2}):
        with pytest.raises(ValidationError):
            spec(**wrong)


def wing_by_numpy(outputs, points, w, epsilon):
    """Feng's equation 5, one coordinate after the other."""
    total = 0.0
    for output, point in zip(outputs.ravel(), points.ravel(), strict=True):
        x = abs(output - point)
        c = w - w * np.log(1 + w / epsilon)
        total += w * np.log(1 + x / epsilon) if x < w else x - c
    return total / outputs.size


coordinates = arrays.arrays(np.float64, (2, 136), elements=st.floats(-1, 1, width=32))
lengths = st.sampled_from([10 / 256, 2 / 256, 0.1, 1.0])


class TestPoints:
    @settings(deadline=None, max_examples=50)
    @given(coordinates, coordinates, lengths, lengths)
    def test_they_agree_with_numpy(self, outputs, points, w, epsilon):
        given_ = torch.tensor(outputs, dtype=torch.float32), torch.tensor(points, dtype=torch.float32)
        for loss, expected in (
            (MeanSquaredError(), ((outputs - points) ** 2).mean()),
            (MeanAbsoluteError(), np.abs(outputs - points).mean()),
            (Wing(w=w, epsilon=epsilon), wing_by_numpy(outputs, points, w, epsilon)),
        ):
            found = loss(*given_)
            assert found.dtype == torch.float32
            assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)

    @pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Wing()])
    def test_points_that_are_right_cost_nothing_and_pull_nowhere(self, loss):
        outputs = torch.full((3, 136), 0.25, requires_grad=True)
        found = loss(outputs, torch.full((3, 136), 0.25))
        found.backward()
        assert found.item() == 0
        assert outputs.grad.tolist() == torch.zeros(3, 136).tolist()

    @pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Wing()])
    def test_they_are_computed_in_float32_whatever_the_outputs_are(self, loss):
        # An error of a thousandth is nothing in bfloat16 beside a target of 0.5.
        points = torch.full((1, 136), 0.501)
        assert loss(torch.full((1, 136), 0.5, dtype=torch.bfloat16), points).item() == loss(points - 0.001, points)
        assert loss(torch.full((1, 136), 0.5), points.double()).dtype == torch.float32

    def test_the_two_parts_of_wing_meet_and_the_outer_one_is_straight(self):
        loss, points = Wing(w=0.04, epsilon=0.01), torch.zeros(1, 1)

        def at(error):
            return loss(torch.full((1, 1), error), points).item()

        assert at(0.04 - 1e-6) == pytest.approx(0.04 * np.log(5), abs=1e-5)
        assert at(0.04 + 1e-6) == pytest.approx(0.04 * np.log(5), abs=1e-5)
        assert at(0.9) - at(0.4) == pytest.approx(0.5, abs=1e-6)
        assert at(-0.3) == at(0.3)

    def test_wing_pulls_hardest_at_small_errors(self):
        outputs = torch.tensor([[1e-6, 2 / 256, 0.5]], requires_grad=True)
        Wing()(outputs, torch.zeros(1, 3)).backward()
        # w / (epsilon + |x|): 5 at nothing, 2.5 at epsilon, 1 beyond w; a third each, since it is a mean.
        assert (3 * outputs.grad[0]).tolist() == pytest.approx([5, 2.5, 1], rel=1e-3)

    def test_in_a_file(self):
        loss = build("loss", entry("loss", "wing").spec(), num_classes=136, class_counts=[])
        assert (loss.w * 256, loss.epsilon * 256) == (10, 2)
        assert entry("loss", "mse").spec().parameters == {}
        assert isinstance(build("loss", entry("loss", "mse").spec(), num_classes=136), MeanSquaredError)
        assert isinstance(build("loss", entry("loss", "l1").spec(), num_classes=136), MeanAbsoluteError)
        for name, wrong in (("wing", {"w": 0}), ("wing", {"epsilon": -1}), ("mse", {"w": 1})):
            with pytest.raises(ValidationError):
                entry("loss", name).spec(**wrong)
