"""PSPNet: averages over 1, 2, 3 and 6 bins a side beside the map itself, and an auxiliary head that counts 0.4."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.models import build, model_options
from maskwright.models.pspnet import PSPNet, PyramidPooling

# torchvision's published counts less the 1000-way classifier.
RESNET50 = 25_557_032 - 2_049_000
RESNET101 = 44_549_160 - 2_049_000


def pass_on(pyramid: PyramidPooling) -> PyramidPooling:
    """Every level shows the averages of the first channel, which must not be negative."""
    for module in pyramid.eval().modules():
        if isinstance(module, nn.Conv2d):
            nn.init.zeros_(module.weight)
            nn.init.ones_(module.weight[:, :1])
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return pyramid


def test_the_pyramid_averages_over_one_two_three_and_six_bins_a_side() -> None:
    torch.manual_seed(0)
    map_BChw = torch.rand(2, 8, 12, 18)
    with torch.inference_mode():
        out_BChw = pass_on(PyramidPooling(8, (1, 2, 3, 6)))(map_BChw)
    assert out_BChw.shape == (2, 16, 12, 18)
    assert model_options("pspnet")["bins"] == (1, 2, 3, 6)
    assert torch.equal(out_BChw[:, :8], map_BChw), "the map itself comes first"
    for level, n in enumerate((1, 2, 3, 6)):
        # 12 x 18 divides evenly: bins are the plain blocks of 12/n x 18/n.
        means = map_BChw[:, :1].reshape(2, 1, n, 12 // n, n, 18 // n).mean((3, 5))
        expected = F.interpolate(means, (12, 18), mode="bilinear", align_corners=False).expand(2, 2, 12, 18)
        torch.testing.assert_close(out_BChw[:, 8 + 2 * level : 10 + 2 * level], expected)


def test_bins_cover_maps_that_they_do_not_divide() -> None:
    # Three bins over five columns: 0-1, 1-3, 3-4.
    row = torch.tensor([6.0, 0.0, 3.0, 9.0, 1.0])
    map_BChw = row.expand(1, 1, 5, 5)
    with torch.inference_mode():
        pooled = pass_on(PyramidPooling(1, (3,))).levels[0](map_BChw)
    assert pooled[0, 0].tolist() == [[3.0, 4.0, 5.0]] * 3
    with torch.inference_mode():
        assert PyramidPooling(4, (1, 2, 3, 6)).eval()(torch.rand(1, 4, 1, 2)).shape == (1, 8, 1, 2)


def test_only_the_single_bin_has_a_bias_and_no_batch_norm() -> None:
    network = PSPNet(3, 2, encoder="resnet18", width=8)
    norms = [any(isinstance(m, nn.BatchNorm2d) for m in level.modules()) for level in network.pyramid.levels]
    biases = [any(name.endswith("1.bias") for name, _ in level.named_parameters()) for level in network.pyramid.levels]
    assert norms == [False, True, True, True]
    assert biases == [True, False, False, False]


def test_scores_come_from_the_last_two_stages_at_an_eighth_of_the_size() -> None:
    torch.manual_seed(0)
    network = PSPNet(3, 4, encoder="resnet18", width=8).eval()
    x_BCHW = torch.randn(1, 3, 48, 64)
    with torch.inference_mode():
        *_, before, last = network.encoder(x_BCHW)
        assert before.shape[2:] == last.shape[2:] == (6, 8)
        scores = network.classifier(network.pyramid(last)), network.aux_classifier(before)
        expected = [F.interpolate(s, scale_factor=8.0, mode="bilinear", align_corners=False) for s in scores]
        torch.testing.assert_close(network(x_BCHW), expected[0])
        for module in network.modules():  # training mode returns both outputs; its dropout and batch norms would differ
            module.training = module is network
        for found, wanted in zip(network(x_BCHW), expected, strict=True):
            torch.testing.assert_close(found, wanted)
    assert network.auxiliary == (0.4,)


def test_parameters() -> None:
    # Four levels of 2048 -> 512, three with batch norm (2 x 512) and one with a bias; 4096 -> 512 by 3x3 with batch
    # norm, and the scores; the auxiliary head on 1024 channels.
    pyramid = 4 * 2048 * 512 + 3 * 2 * 512 + 512
    head = 4096 * 512 * 9 + 2 * 512 + (512 * 21 + 21)
    auxiliary = 1024 * 256 * 9 + 2 * 256 + (256 * 21 + 21)
    with torch.device("meta"):
        networks = build("pspnet", 3, 21), build("pspnet-resnet101", 3, 21)
    counts = [sum(parameter.numel() for parameter in network.parameters()) for network in networks]
    assert counts == [RESNET50 + pyramid + head + auxiliary, RESNET101 + pyramid + head + auxiliary]
    assert counts[0] == 48_957_290
