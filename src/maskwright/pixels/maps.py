"""Features of a tile as maps at several resolutions, read at single pixels or all of them.

A coarse map is brought to full resolution bilinearly, pixel centres at integers: reading it at a pixel, and applying a
linear layer to the map before it is enlarged, give the same numbers. So what is enlarged is a layer's few outputs, not
hundreds of features.

Shapes: D features, N pixels, H outputs of a layer, h, w of a map, S pixels along the tile's edge.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional as F

MARGIN = 1
"""Places around a tile that a coarse map has, since enlarging looks at neighbours."""


class Map(NamedTuple):
    """Features of a tile at one resolution."""

    stride: int
    """Pixels along a place."""
    values_Dhw: torch.Tensor
    """float16, with MARGIN places around the tile if the stride is above 1."""


Maps = tuple[Map, ...]


def count(maps: Maps) -> int:
    """How many features a pixel has."""
    return sum(len(one.values_Dhw) for one in maps)


def size(maps: Maps) -> int:
    """Bytes of maps."""
    return sum(one.values_Dhw.nbytes for one in maps)


def read(maps: Maps, rows_N: torch.Tensor, columns_N: torch.Tensor) -> torch.Tensor:
    """The features of pixels of the tile: float32 `N x D`."""
    found = []
    for stride, values_Dhw in maps:
        if stride == 1:
            found.append(values_Dhw[:, rows_N, columns_N].float().T)
            continue
        (upper_N, down_N), (left_N, right_N) = (
            _between((places_N.float() + 0.5) / stride - 0.5 + MARGIN) for places_N in (rows_N, columns_N)
        )
        corners_DN = [
            values_Dhw[:, upper_N + below, left_N + beside].float() * weight_N
            for below, vertical_N in ((0, 1 - down_N), (1, down_N))
            for beside, weight_N in ((0, vertical_N * (1 - right_N)), (1, vertical_N * right_N))
        ]
        found.append(torch.stack(corners_DN).sum(0).T)
    return torch.cat(found, 1)


def layer(maps: Maps, weight_HD: torch.Tensor, bias_H: torch.Tensor) -> torch.Tensor:
    """A linear layer at every pixel of the tile: float32 `H x S x S`."""
    total_HSS: torch.Tensor | None = None
    begin = 0
    for stride, values_Dhw in maps:
        features, height, width = values_Dhw.shape
        weight_Hd = weight_HD[:, begin : begin + features]
        begin += features
        flat = values_Dhw.reshape(features, -1).float()
        own = (weight_Hd @ flat if total_HSS is not None else torch.addmm(bias_H[:, None], weight_Hd, flat)).reshape(
            -1, height, width
        )
        if stride > 1:
            own = F.interpolate(own[None], scale_factor=stride, mode="bilinear", align_corners=False)[0]
            cut = MARGIN * stride
            own = own[:, cut:-cut, cut:-cut]
        total_HSS = own if total_HSS is None else total_HSS.add_(own)
    assert total_HSS is not None
    return total_HSS


def _between(place_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The place before each, and how far it is on the way to the next."""
    before_N = place_N.floor()
    return before_N.long(), place_N - before_N
