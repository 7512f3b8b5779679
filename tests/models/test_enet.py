"""ENet: the paper's size, its pooling indices, its bottlenecks; and what becomes of other numbers of channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models.enet import Bottleneck, DownBottleneck, ENet, InitialBlock, UpBottleneck


def bottleneck(before: int, after: int, *, first: int = 1, main: int = 9, shortcut: bool = False) -> int:
    """Parameters by the paper's figure 2: convolutions without bias, two numbers per map for norms, one for PReLU."""
    inner = after // 4
    count = before * inner * first + main * inner**2 + inner * after
    count += 3 * inner + 3 * inner + 2 * after + after
    return count + (before * after + 2 * after if shortcut else 0)


@pytest.mark.parametrize(("classes", "total"), [(11, 363_818), (20, 364_403), (21, 364_468)])
def test_parameters(classes: int, total: int) -> None:
    # 5x1 and 1x5 are 10 weights per pair of maps, and a norm and a PReLU between them.
    asymmetric = bottleneck(128, 128, main=10) + 3 * 32
    context = 6 * bottleneck(128, 128) + 2 * asymmetric
    expected = (
        (27 * 13 + 3 * 16)
        + (bottleneck(16, 64, first=4) + 4 * bottleneck(64, 64))
        + (bottleneck(64, 128, first=4) + 2 * context)
        + (bottleneck(128, 64, shortcut=True) + 2 * bottleneck(64, 64))
        + (bottleneck(64, 16, shortcut=True) + bottleneck(16, 16))
        + (4 * 16 * classes + classes)
    )
    with torch.device("meta"):
        counted = sum(parameter.numel() for parameter in ENet(3, classes).parameters())
    # The paper says 0.37 million for the 20 classes of Cityscapes; others count 0.36.
    assert counted == expected == total


def test_an_rgb_image_is_one_of_the_first_maps() -> None:
    block = InitialBlock(3, 16).eval()
    assert block.conv.weight.shape == (13, 3, 3, 3)
    x_BCHW = torch.rand(1, 3, 8, 6)
    with torch.inference_mode():
        out_BCHW = block(x_BCHW)
    assert out_BCHW.shape == (1, 16, 4, 3)
    torch.testing.assert_close(out_BCHW[:, 13:], F.max_pool2d(x_BCHW, 2) / (1 + 1e-3) ** 0.5)


@pytest.mark.parametrize(("channels", "filters"), [(1, 15), (8, 8), (9, 16), (200, 16)])
def test_other_channels_leave_room_for_filters(channels: int, filters: int) -> None:
    assert len(InitialBlock(channels, 16).conv.weight) == filters


def silence(block: DownBottleneck | UpBottleneck) -> None:
    """Leave the shortcut alone: the norm that ends the other branch gives zeros."""
    norm = block.expand[1]
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)


def test_a_value_goes_back_to_where_it_was_the_largest() -> None:
    down, up = DownBottleneck(4, 8, 0.1).eval(), UpBottleneck(8, 4, 0.1).eval()
    silence(down)
    silence(up)
    up.shortcut = nn.Sequential(nn.Conv2d(8, 4, 1, bias=False))
    with torch.no_grad():
        up.shortcut[0].weight.copy_(torch.eye(4, 8)[:, :, None, None])  # type: ignore[operator]
    x_BCHW = torch.arange(16.0).reshape(1, 1, 4, 4).flip(3).repeat(1, 4, 1, 1)
    with torch.inference_mode():
        pooled_BCHW, indices_BCHW = down(x_BCHW)
        restored_BCHW = up(pooled_BCHW, indices_BCHW)
    assert pooled_BCHW[0, 0].tolist() == [[7, 5], [15, 13]]
    assert not pooled_BCHW[:, 4:].any(), "new channels of the shortcut are zeros"
    # 4x4 counted from the right: the largest of each square is its lower left.
    assert restored_BCHW[0, 0].tolist() == [[0, 0, 0, 0], [7, 0, 5, 0], [0, 0, 0, 0], [15, 0, 13, 0]]


def test_unpoolings_take_the_indices_of_the_pooling_of_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    original = F.max_unpool2d

    def spy(x_BCHW: torch.Tensor, indices_BCHW: torch.Tensor, kernel: tuple[int, int]) -> torch.Tensor:
        taken.append(indices_BCHW)
        return original(x_BCHW, indices_BCHW, kernel)

    monkeypatch.setattr("maskwright.models.enet.F.max_unpool2d", spy)
    network = ENet(3, 2, width=8).eval()
    given = {}
    for name in ("down1", "down2"):
        network.get_submodule(name).register_forward_hook(lambda _m, _x, out, name=name: given.update({name: out[1]}))
    with torch.inference_mode():
        network(torch.rand(1, 3, 32, 48))
    assert [torch.equal(indices, given[name]) for indices, name in zip(taken, ("down2", "down1"), strict=True)] == [
        True,
        True,
    ]
    assert taken[0].shape == (1, 32, 4, 6), "at an eighth of the size"


def test_table_1() -> None:
    network = ENet(3, 2)
    for stage in (network.stage2, network.stage3):
        kernels = []
        for block in stage:
            assert isinstance(block, Bottleneck)
            convs = [module for module in block.conv.modules() if isinstance(module, nn.Conv2d)]
            kernels.append([(conv.kernel_size, conv.dilation[0]) for conv in convs])
        plain, tall, wide = (3, 3), (5, 1), (1, 5)
        assert kernels == [
            [(plain, 1)],
            [(plain, 2)],
            [(tall, 1), (wide, 1)],
            [(plain, 4)],
            [(plain, 1)],
            [(plain, 8)],
            [(tall, 1), (wide, 1)],
            [(plain, 16)],
        ]
    drops = {name: module.p for name, module in network.named_modules() if isinstance(module, nn.Dropout2d)}
    assert {p for name, p in drops.items() if name.startswith(("down1", "stage1"))} == {0.01}
    assert {p for name, p in drops.items() if not name.startswith(("down1", "stage1"))} == {0.1}
    assert len(drops) == 5 + 1 + 16 + 3 + 2
    assert not any(isinstance(module, nn.ReLU) for module in network.modules())
