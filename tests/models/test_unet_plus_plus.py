"""UNet++: the paper's parameters, its nested nodes, and deep supervision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskwright.errors import ModelError
from maskwright.models import build
from maskwright.models.summary import count_parameters
from maskwright.models.unet_plus_plus import UNetPlusPlus


def test_parameters_are_the_paper_s_and_the_batch_norms() -> None:
    widths = (32, 64, 128, 256, 512)
    total = norms = 0
    for i, width in enumerate(widths):
        for j in range(5 - i):
            # Equation 1: the first node of a level sees the level above, the others j nodes of their own and one below.
            before = (widths[i - 1] if i else 3) if j == 0 else (j + 1) * width
            total += 9 * before * width + width + 9 * width * width + width
            total += (4 * widths[i + 1] * width + width) if j else 0
            norms += 2 * 2 * width - 2 * width  # scale and shift twice, instead of two biases
    assert round((total + 4 * (32 + 1)) / 1e6, 2) == 9.04, "table 2, one sigmoid at each of four scores"
    with torch.device("meta"):
        network = build("unet++", 3, 2)
    assert count_parameters(network) == total + norms + 4 * (2 * 32 + 2) == 9_046_056


def test_training_gives_every_depth_the_deepest_first() -> None:
    torch.manual_seed(0)
    network = UNetPlusPlus(3, 2, widths=(2, 3, 4, 5)).train()
    assert network.auxiliary == (1.0, 1.0)
    seen: list[torch.Tensor] = []
    for score in network.scores:
        score.register_forward_hook(lambda _module, _args, output: seen.append(output))
    outputs = network(torch.randn(2, 3, 16, 16))
    assert isinstance(outputs, tuple)
    assert all(torch.equal(a, b) for a, b in zip(outputs, reversed(seen), strict=True))


def test_evaluation_gives_the_mean_of_the_probabilities() -> None:
    torch.manual_seed(0)
    network = UNetPlusPlus(3, 4, widths=(2, 3, 4)).eval()
    seen: list[torch.Tensor] = []
    for score in network.scores:
        score.register_forward_hook(lambda _module, _args, output: seen.append(output))
        nn.init.normal_(score.get_parameter("weight"))
    with torch.inference_mode():
        logits_BKHW = network(torch.randn(1, 3, 8, 8))
    mean_BKHW = torch.stack([score.softmax(1) for score in seen]).mean(0)
    torch.testing.assert_close(logits_BKHW.softmax(1), mean_BKHW)


def test_a_shallow_score_does_not_depend_on_deep_nodes() -> None:
    torch.manual_seed(0)
    network = UNetPlusPlus(3, 2, widths=(2, 3, 4, 5)).train()
    x_BCHW = torch.randn(2, 3, 16, 16)
    before = network(x_BCHW)
    for parameter in network.nodes["2_0"].parameters():
        nn.init.normal_(parameter)
    after = network(x_BCHW)
    assert not torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    assert torch.equal(before[2], after[2]), "node (0, 1) sees (0, 0) and (1, 0), and can be cut out for speed"


def test_a_node_joins_all_nodes_before_it_and_the_one_below() -> None:
    torch.manual_seed(0)
    network = UNetPlusPlus(3, 2, widths=(2, 3, 4)).eval()
    made: dict[str, torch.Tensor] = {}
    for name, node in network.nodes.items():
        node.register_forward_hook(lambda _module, _args, output, name=name: made.update({name: output}))
    network.nodes["0_2"].register_forward_pre_hook(lambda _module, args: made.update(joined=args[0]))
    network(torch.randn(1, 3, 8, 8))
    below = network.up["0_2"](made["1_1"])
    assert torch.equal(made["joined"], torch.cat([made["0_0"], made["0_1"], below], 1))


def test_too_few_widths_are_refused() -> None:
    with pytest.raises(ModelError, match=r"widths = \[8, 8\]: expected three"):
        build("unet++", 3, 2, {"widths": [8, 8]})
