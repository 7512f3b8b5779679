"""Several segmenters as one: the mean of their probabilities.

Shapes: B batch, C input channels, K classes, H height, W width, M members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from maskwright.models.segmenter import Segmenter


class Ensemble(nn.Module):
    """Native values in, as `Segmenter`; out the logarithm of the members' mean probability, B x K x H x W float32.

    Its softmax is that mean, so an ensemble stands wherever a segmenter does.
    """

    def __init__(self, members: Sequence[Segmenter]) -> None:
        super().__init__()
        assert members, "an ensemble has members"
        self.members = nn.ModuleList(members)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """See the class; raises ModelError as `Segmenter`."""
        log_MBKHW = torch.stack([member(x_BCHW).log_softmax(1) for member in self.members])
        return torch.logsumexp(log_MBKHW, 0) - math.log(len(self.members))
