"""Images mixed in pairs, by shares that say which label counts how much."""

import pytest
import torch

from mien.training.mixing import Average, mix


def flat(values: list[float], side: int = 20) -> torch.Tensor:
    """Images of one value each."""
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, side, side).contiguous()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.5, None), (None, 1.0), (0.5, 1.0)])
def test_the_share_is_how_much_of_an_image_is_its_own(mixup: float | None, cutmix: float | None) -> None:
    images = flat([0.0, 1.0, 10.0, 100.0])
    for seed in range(30):
        torch.manual_seed(seed)
        mixed, others, share = mix(images, mixup, cutmix)
        assert sorted(others.tolist()) == [0, 1, 2, 3]
        assert 0 <= share <= 1
        expected = share * images + (1 - share) * images[others]
        torch.testing.assert_close(mixed.mean((1, 2, 3)), expected.mean((1, 2, 3)), rtol=1e-4, atol=1e-4)
        torch.manual_seed(seed)
        assert torch.equal(mix(images, mixup, cutmix)[0], mixed)
    assert torch.equal(images, flat([0.0, 1.0, 10.0, 100.0]))


def test_mixup_adds_and_cutmix_puts_a_rectangle() -> None:
    images = flat([0.0, 100.0], side=48)
    values = {"added": 0, "cut": 0}
    for seed in range(200):
        torch.manual_seed(seed)
        mixed, others, share = mix(images, 1.0, 1.0)
        if others.tolist() == [0, 1] or not 0.05 < share < 0.95:
            continue
        one = mixed[0, 0]
        if one.unique().numel() == 1:
            values["added"] += 1
            assert one[0, 0].item() == pytest.approx(100 * (1 - share), rel=1e-4)
        else:
            values["cut"] += 1
            assert one.unique().tolist() == [0, 100]
            there = one == 100
            assert there.sum() == there.any(0).sum() * there.any(1).sum()  # It is a rectangle.
    assert values["added"] > 20
    assert values["cut"] > 20


def test_cutmix_draws_areas_by_its_beta() -> None:
    # In the mean a rectangle of half the image that is centred evenly loses some at the edges, so its own share grows.
    torch.manual_seed(0)
    shares = torch.tensor([mix(torch.zeros(2, 1, 48, 48), None, 1.0)[2] for _ in range(2000)])
    # Of a side r the part that stays is r - r² / 4 in the mean; r = sqrt(u), u even: E[(r - r²/4)²] = 1/2 - 1/5 + 1/48.
    assert shares.mean().item() == pytest.approx(1 - (1 / 2 - 1 / 5 + 1 / 48), abs=0.02)


def test_a_statistic_that_is_no_float_is_copied() -> None:
    model = torch.nn.BatchNorm1d(2)
    average = Average(model, 0.5)
    model(torch.tensor([[0.0, 1.0], [2.0, 5.0]]))
    average.update(model)
    assert average.model.num_batches_tracked.item() == 1
    # The model's own mean moves by 0.1, its average by 0.9 of that.
    assert average.model.running_mean.tolist() == pytest.approx([0.09, 0.27])
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
