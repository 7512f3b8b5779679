"""Pixel classifiers on a frozen encoder: 512 numbers a pixel that were learnt from photographs, and a linear layer.

All five maps of an encoder are brought to a quarter of the resolution and stacked, as in hypercolumns (Hariharan,
Arbeláez, Girshick, Malik 2014, arXiv:1411.5752). The encoder is never trained, so the features of an image are computed
once, and what is fitted on them takes seconds.

Tiles of a large image agree with the whole: each is computed with a halo as wide as the encoder sees, and starts at a
multiple of its stride.

Shapes: B batch, C channels of the image, D features, K classes, N pixels, H height, W width, h and w those of the
features: a quarter, rounded up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from maskwright.errors import ModelError
from maskwright.models.encoders import build_encoder
from maskwright.models.encoders.efficientnet_lite import EfficientNetLite
from maskwright.models.installed import load_installed

REDUCTION = 4
"""Pixels per side that one place of the features stands for."""
TILE = 1024
BATCH = 4096
WEIGHT_DECAY = 1e-4


class PixelFeatures(nn.Module):
    """A frozen encoder with its normalisation: native values of any size in, features at a quarter of it out.

    Parameters
    ----------
    encoder
        Is set to evaluation, and gets no gradients any more.
    mean, std
        Per channel, in native values, as `Origin.statistics` gives them.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, encoder: EfficientNetLite, *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(deviation > 0 for deviation in std):
            raise ModelError(
                f"mean = {list(mean)}, std = {list(std)}.",
                expected="Expected one of each for every channel of the image, deviations above 0.",
            )
        self.encoder = encoder.eval().requires_grad_(False)
        self.channels = sum(encoder.channels)
        interpolated = encoder.reach + encoder.stride
        self.halo = interpolated + -interpolated % encoder.stride
        """Pixels around a tile that its features depend on: 480 with Lite0."""
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).reshape(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).reshape(-1, 1, 1))

    def train(self, mode: bool = True) -> PixelFeatures:
        """Frozen whatever is around it: batch norms keep what they learnt from photographs."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Native values of any real dtype, H and W from 1 -> float32 features B x D x ceil(H / 4) x ceil(W / 4)."""
        height, width = x_BCHW.shape[2:]
        return self._features(self._padded(x_BCHW))[..., : -(-height // REDUCTION), : -(-width // REDUCTION)]

    @torch.no_grad()
    def tiles(
        self, x_BCHW: torch.Tensor, side: int = TILE, halo: int | None = None
    ) -> Iterator[tuple[slice, slice, torch.Tensor]]:
        """The same features tile by tile, for images whose maps do not fit in memory at once.

        Parameters
        ----------
        x_BCHW
            As in `forward`.
        side, halo
            Pixels, multiples of the encoder's stride. With `self.halo`, as if not told, tiles agree with the whole but
            for rounding; a narrower one is faster, and changes features near the tiles' edges.

        Yields
        ------
        Iterator[tuple[slice, slice, torch.Tensor]]
            Rows and columns of the features, and B x D x rows x columns.
        """
        stride, halo = self.encoder.stride, self.halo if halo is None else halo
        if side < stride or halo < 0 or side % stride or halo % stride:
            raise ModelError(f"side = {side}, halo = {halo}.", expected=f"Expected multiples of {stride}, side from 1.")
        height, width = (-(-length // REDUCTION) for length in x_BCHW.shape[2:])
        padded_BCHW = self._padded(x_BCHW)
        for top in range(0, padded_BCHW.shape[2], side):
            for left in range(0, padded_BCHW.shape[3], side):
                above, before = max(0, top - halo), max(0, left - halo)
                read_BChw = padded_BCHW[..., above : top + side + halo, before : left + side + halo]
                rows = slice(top // REDUCTION, min((top + side) // REDUCTION, height))
                columns = slice(left // REDUCTION, min((left + side) // REDUCTION, width))
                features_BDhw = self._features(read_BChw)
                first_row, first_column = above // REDUCTION, before // REDUCTION
                yield (
                    rows,
                    columns,
                    features_BDhw[
                        ...,
                        rows.start - first_row : rows.stop - first_row,
                        columns.start - first_column : columns.stop - first_column,
                    ],
                )

    def _padded(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Normalised, and with the last row and column repeated up to multiples of the encoder's stride."""
        if x_BCHW.ndim != 4 or x_BCHW.shape[1] != len(self.mean) or min(x_BCHW.shape[2:]) < 1:
            raise ModelError(
                f"The encoder got a tensor of shape {tuple(x_BCHW.shape)}.",
                expected=f"Expected a batch of images with {len(self.mean)} channels, height and width from 1.",
            )
        x_BCHW = (x_BCHW.to(torch.float32) - self.mean).div_(self.std)
        down, right = (-length % self.encoder.stride for length in x_BCHW.shape[2:])
        return F.pad(x_BCHW, (0, right, 0, down), mode="replicate")

    def _features(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Normalised, of a size that the stride divides -> features: finer maps averaged, coarser ones bilinear."""
        size = (x_BCHW.shape[2] // REDUCTION, x_BCHW.shape[3] // REDUCTION)
        stacked = []
        for map_BCHW, stride in zip(self.encoder(x_BCHW), self.encoder.strides, strict=True):
            if stride < REDUCTION:
                stacked.append(F.avg_pool2d(map_BCHW, REDUCTION // stride))
            else:
                stacked.append(F.interpolate(map_BCHW, size, mode="bilinear", align_corners=False))
        return torch.cat(stacked, 1)


def installed_features(name: str = "lite0", *, channels: int = 3, top: float = 255.0) -> PixelFeatures | None:
    """Features of an encoder whose weights are installed; None where they are not.

    Parameters
    ----------
    name
        A name of `installed.INSTALLED`.
    channels
        The image's.
    top
        The largest value of the images' type or range: 255, 65535, or 1 for floats from 0 to 1.

    Raises
    ------
    ModelError
        As `load_installed` does.
    """
    encoder = build_encoder(name, channels)
    assert isinstance(encoder, EfficientNetLite)
    origin = load_installed(encoder, name)
    if origin is None:
        return None
    mean, std = origin.statistics(top)
    return PixelFeatures(encoder, mean=mean, std=std)


class LinearPixels(nn.Module):
    """A linear layer on standardised features: one 1 x 1 convolution."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, classes, 1)

    def forward(self, features_BDhw: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Features -> logits B x K x H x W at the image's `size`, bilinearly from the places of the features."""
        logits_BKhw = self.score(features_BDhw)
        height, width = (REDUCTION * side for side in logits_BKhw.shape[2:])
        logits_BKHW = F.interpolate(logits_BKhw, (height, width), mode="bilinear", align_corners=False)
        return logits_BKHW[..., : size[0], : size[1]]


def at_features(target_HW: torch.Tensor) -> torch.Tensor:
    """A mask, H x W or B x H x W, at the places of the features: the pixel at or after each place's centre."""
    rows_h, columns_w = (
        torch.arange(REDUCTION // 2, side + REDUCTION // 2, REDUCTION).clamp_max(side - 1)
        for side in target_HW.shape[-2:]
    )
    return target_HW[..., rows_h[:, None], columns_w]


def fit_linear(
    features_ND: torch.Tensor, target_N: torch.Tensor, classes: int, *, steps: int = 400, seed: int = 0
) -> LinearPixels:
    """Fit a linear layer by softmax regression: Adam on BATCH pixels a step, the rate falling to zero.

    Features are standardised for it, and the layer that is returned has that inside. All pixels count alike.

    Parameters
    ----------
    features_ND
        float32 or float16.
    target_N
        Class indices; others than 0 .. classes - 1, such as 255, take no part.
    classes
        K, at least 2.
    steps, seed
        How often, and which pixels.

    Raises
    ------
    ModelError
        No pixel is labelled.
    """
    labelled_N = (target_N >= 0) & (target_N < classes)
    if not labelled_N.any():
        raise ModelError("No pixel is labelled.", expected="Expected at least one, of a class from 0 on.")
    features_ND, target_N = features_ND[labelled_N], target_N[labelled_N].long()
    mean_D = features_ND.mean(0, dtype=torch.float32)
    # In blocks, each of them small enough for a processor's cache: a whole column at a time takes ten times as long.
    squares_D = torch.stack(
        [(block.float() - mean_D).square().sum(0) for block in torch.split(features_ND, BATCH)]
    ).sum(0)
    std_D = (squares_D / len(features_ND)).sqrt().clamp_min(1e-6)
    weight_KD = torch.zeros(classes, features_ND.shape[1], requires_grad=True)
    bias_K = torch.zeros(classes, requires_grad=True)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([weight_KD, bias_K], lr=0.01, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen_n = torch.randint(len(target_N), (min(BATCH, len(target_N)),), generator=generator)
        standard_nD = (features_ND[chosen_n].float() - mean_D) / std_D
        loss = F.cross_entropy(F.linear(standard_nD, weight_KD, bias_K), target_N[chosen_n])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    layer = LinearPixels(features_ND.shape[1], classes)
    with torch.no_grad():
        scaled_KD = weight_KD / std_D
        layer.score.weight.copy_(scaled_KD[:, :, None, None])
        assert layer.score.bias is not None
        layer.score.bias.copy_(bias_K - scaled_KD @ mean_D)
    return layer.eval()
