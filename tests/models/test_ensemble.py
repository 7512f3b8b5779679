from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from maskwright import models
from maskwright.errors import ModelError
from maskwright.models.ensemble import Ensemble
from maskwright.models.segmenter import Segmenter


class Fixed(nn.Module):
    """The same logits at every pixel, as a parameter."""

    stride = 1

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits_K = nn.Parameter(torch.tensor(logits))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.logits_K.reshape(1, -1, 1, 1).expand(len(x_BCHW), -1, *x_BCHW.shape[2:])


def member(*logits: float) -> Segmenter:
    return Segmenter(Fixed(*logits), mean=[0.0], std=[1.0])


def test_probabilities_are_averaged_not_logits() -> None:
    # Probabilities 3/4, 1/4 and 1/11, 10/11: their mean prefers the second class, as mean logits would not tell.
    ensemble = Ensemble([member(math.log(3), 0.0), member(0.0, math.log(10))])
    p_BKHW = ensemble(torch.zeros(2, 1, 3, 5)).softmax(1)
    assert p_BKHW.shape == (2, 2, 3, 5)
    expected = torch.tensor([(3 / 4 + 1 / 11) / 2, (1 / 4 + 10 / 11) / 2]).reshape(1, 2, 1, 1).expand_as(p_BKHW)
    torch.testing.assert_close(p_BKHW, expected)


def test_the_output_is_the_logarithm_of_a_probability() -> None:
    p_BKHW = Ensemble([member(5.0, -2.0, 1.0), member(0.0, 0.0, 900.0)])(torch.zeros(1, 1, 2, 2)).exp()
    torch.testing.assert_close(p_BKHW.sum(1), torch.ones(1, 2, 2))
    assert torch.isfinite(Ensemble([member(0.0, -900.0)])(torch.zeros(1, 1, 2, 2))).all()


def test_members_keep_their_own_normalisation_and_one_alone_is_itself() -> None:
    torch.manual_seed(0)
    members = [
        Segmenter(models.build("fcn-flat", 3, 4, {"depth": 1, "width": 4}), mean=[mean] * 3, std=[20.0] * 3)
        for mean in (10.0, 90.0)
    ]
    ensemble = Ensemble(members).eval()
    image_BCHW = 100 * torch.rand(1, 3, 7, 9)
    p = [one(image_BCHW).softmax(1) for one in members]
    assert (p[0] - p[1]).abs().max() > 0.01
    torch.testing.assert_close(ensemble(image_BCHW).softmax(1), (p[0] + p[1]) / 2, rtol=0, atol=1e-6)
    torch.testing.assert_close(Ensemble(members[:1])(image_BCHW).softmax(1), p[0])
    with pytest.raises(ModelError, match=r"made for 3 channels, got 1"):
        ensemble(image_BCHW[:, :1])
