import torch
from torch import nn

from coordexp.inspection.plan.live_bytes import LiveBytes


def test_live_bytes_are_the_most_that_was_there_at_once() -> None:
    outside = torch.ones(1000)
    with LiveBytes(nn.Identity()) as counted:
        first = outside * 2  # 4,000 bytes
        view = first[:10]  # none of its own
        second = first + 1  # 8,000 together
        del first, view
        third = second.exp()  # 8,000 still
    assert counted.peak == 8000
    assert len(third) == len(outside)


def test_accumulated_gradients_are_not_counted_with_the_activations() -> None:
    layers = nn.ModuleList(nn.Linear(100, 100, bias=False) for _ in range(5))
    with LiveBytes(layers) as counted:
        hidden = torch.ones(1, 100)
        for layer in layers:
            hidden = layer(hidden)
        hidden.sum().backward()
    # Five gradients of 40,000 bytes; one at a time is on its way.
    assert 40_000 <= counted.peak < 80_000
