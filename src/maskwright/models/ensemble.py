"""Several segmenters as one: the mean of their probabilities.

Shapes: B batch, C input channels, K classes, H height, W width, M members.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from maskwright.models.segmenter import Moments, Segmenter


class Ensemble(nn.Module):
    """Native values in, as `Segmenter`; out the logarithm of the members' mean probability, B x K x H x W float32.

    Its softmax is that mean, so an ensemble stands wherever a segmenter does.
    """

    def __init__(self, members: Sequence[Segmenter]) -> None:
        super().__init__()
        assert members, "an ensemble has members"
        self.members = nn.ModuleList(members)

    @property
    def grid(self) -> int:
        """As that of a `Segmenter`, for all members."""
        return math.lcm(*(member.grid for member in self._segmenters()))

    @property
    def per_image(self) -> bool:
        """Whether a member normalises each image by its own moments."""
        return any(member.per_image for member in self._segmenters())

    def _segmenters(self) -> list[Segmenter]:
        return [member for member in self.members if isinstance(member, Segmenter)]

    def forward(self, x_BCHW: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """See the class; raises ModelError as `Segmenter`."""
        log_MBKHW = torch.stack([member(x_BCHW, moments).log_softmax(1) for member in self.members])
        return torch.logsumexp(log_MBKHW, 0) - math.log(len(self.members))
