"""SegFormer: a hierarchical transformer without position codes, and a head of nothing but linear layers.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo 2021, "SegFormer: Simple and Efficient Design for Semantic Segmentation with
Transformers" (arXiv:2105.15203), section 3 and table 6. Computes what Hugging Face's `SegformerForSemanticSegmentation`
computes, and reads its files (`SegFormer.convert`). Weights start as in the authors' code
(github.com/NVlabs/SegFormer): linear layers normal with standard deviation 0.02, convolutions by their fan out.

What differs from the paper:

- its logits have a quarter of the image's size; here they are upsampled to it, bilinearly, as the authors do to score;
- every layer norm adds 1e-5, as in Hugging Face's code; the authors' adds 1e-6 in the blocks.

Shapes: B batch, C channels (of the input, or of a map), K classes, H height, W width, h and w those of a coarser map,
N = h w tokens, M tokens after sequence reduction, A attention heads, D channels of one of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

HEADS = (1, 2, 5, 8)
"""Attention heads of the four stages; their widths are as many times the first one's."""
STRIDES = (4, 2, 2, 2)
REDUCTIONS = (8, 4, 2, 1)
EXPANSION = 4
DROP_PATH = 0.1
DROPOUT = 0.1

# Hugging Face's names, as on the Hub, and ours. Every name is changed by one row at most of each block.
RENAMED = {
    r"^segformer\.encoder\.patch_embeddings\.(\d)\.proj\.": r"encoder.embeddings.\1.conv.",
    r"^segformer\.encoder\.patch_embeddings\.(\d)\.layer_norm\.": r"encoder.embeddings.\1.norm.",
    r"^segformer\.encoder\.layer_norm\.": r"encoder.norms.",
    r"^segformer\.encoder\.block\.": r"encoder.stages.",
    r"^decode_head\.linear_c\.(\d)\.proj\.": r"head.project.\1.",
    r"^decode_head\.linear_fuse\.": r"head.fuse.",
    r"^decode_head\.batch_norm\.": r"head.norm.",
    r"^decode_head\.classifier\.": r"head.score.",
    r"\.layer_norm_([12])\.": r".norm\1.",
    r"\.attention\.self\.sr\.": r".attention.reduce.",
    r"\.attention\.self\.layer_norm\.": r".attention.norm.",
    r"\.attention\.self\.(query|key|value)\.": r".attention.\1.",
    r"\.attention\.output\.dense\.": r".attention.project.",
    r"\.mlp\.dense1\.": r".ffn.expand.",
    r"\.mlp\.dwconv\.dwconv\.": r".ffn.mix.",
    r"\.mlp\.dense2\.": r".ffn.project.",
}


class PatchEmbedding(nn.Module):
    """Overlapping patches: a strided convolution whose kernel is wider than its stride, and a layer norm (3.1)."""

    def __init__(self, in_channels: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, kernel, stride, kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BCHW: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Return tokens B x N x width, and the height and width of their map."""
        x_BChw = self.conv(x_BCHW)
        return self.norm(_tokens(x_BChw)), (x_BChw.shape[2], x_BChw.shape[3])


class ScaledDotProduct(nn.Module):
    """softmax(Q K^T / sqrt(D)) V (equation 1); a module, so that layer tables show it."""

    def forward(self, query_BAND: torch.Tensor, key_BAMD: torch.Tensor, value_BAMD: torch.Tensor) -> torch.Tensor:
        """Return B x A x N x D."""
        return F.scaled_dot_product_attention(query_BAND, key_BAMD, value_BAMD)


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values come from a map that is `reduction` times smaller per side (equation 2)."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.attend = ScaledDotProduct()
        self.project = nn.Linear(width, width)
        self.reduce = nn.Conv2d(width, width, reduction, reduction) if reduction > 1 else None
        self.norm = nn.LayerNorm(width) if reduction > 1 else None

    def forward(self, x_BNC: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return tokens of the same shape; `size` is the height and width of their map."""
        reduced_BMC = x_BNC
        if self.reduce is not None and self.norm is not None:
            reduced_BMC = self.norm(_tokens(self.reduce(_map(x_BNC, size))))
        query_BAND = self._split(self.query(x_BNC))
        key_BAMD, value_BAMD = self._split(self.key(reduced_BMC)), self._split(self.value(reduced_BMC))
        seen_BAND = self.attend(query_BAND, key_BAMD, value_BAMD)
        out_BNC: torch.Tensor = self.project(seen_BAND.transpose(1, 2).flatten(2))
        return out_BNC

    def _split(self, x_BNC: torch.Tensor) -> torch.Tensor:
        return x_BNC.reshape(x_BNC.shape[0], x_BNC.shape[1], self.heads, -1).transpose(1, 2)


class MixFFN(nn.Module):
    """Linear, depthwise 3x3, GELU, linear; the zeros around the 3x3 tell where a token is (equation 3)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = EXPANSION * width
        self.expand = nn.Linear(width, inner)
        self.mix = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.project = nn.Linear(inner, width)

    def forward(self, x_BNC: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return tokens of the same shape; `size` is the height and width of their map."""
        mixed_BNC = _tokens(self.mix(_map(self.expand(x_BNC), size)))
        out_BNC: torch.Tensor = self.project(F.gelu(mixed_BNC))
        return out_BNC


class StochasticDepth(nn.Module):
    """In training, leaves a residual branch out with probability `p`, for each image by itself (arXiv:1603.09382)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x_BNC: torch.Tensor) -> torch.Tensor:
        """Return x, or in training 0 or x / (1 - p), so that the mean stays."""
        if not self.training or self.p == 0:
            return x_BNC
        keep_B11 = torch.empty(len(x_BNC), 1, 1, dtype=x_BNC.dtype, device=x_BNC.device).bernoulli_(1 - self.p)
        return x_BNC * keep_B11 / (1 - self.p)


class Block(nn.Module):
    """Attention and feed-forward network, each after a layer norm and around an identity (figure 2)."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = EfficientAttention(width, heads, reduction)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = MixFFN(width)
        self.drop = StochasticDepth(drop_path)

    def forward(self, x_BNC: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Return tokens of the same shape; `size` is the height and width of their map."""
        x_BNC = x_BNC + self.drop(self.attention(self.norm1(x_BNC), size))
        mixed_BNC: torch.Tensor = x_BNC + self.drop(self.ffn(self.norm2(x_BNC), size))
        return mixed_BNC


class MixTransformer(nn.Module):
    """The encoder, MiT: four stages of blocks at 1/4, 1/8, 1/16 and 1/32 of the size.

    Stochastic depth grows linearly from 0 in the first block to 0.1 in the last.
    """

    stride = 32
    strides = (4, 8, 16, 32)

    def __init__(self, in_channels: int, width: int, depths: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(width * heads for heads in HEADS)
        drops = iter(torch.linspace(0, DROP_PATH, sum(depths), device="cpu").tolist())
        befores = (in_channels, *self.channels[:-1])
        self.embeddings = nn.ModuleList(
            PatchEmbedding(before, after, 2 * stride - 1, stride)
            for before, after, stride in zip(befores, self.channels, STRIDES, strict=True)
        )
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(channels, heads, reduction, next(drops)) for _ in range(depth))
            for channels, heads, reduction, depth in zip(self.channels, HEADS, REDUCTIONS, depths, strict=True)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in self.channels)

    def forward(self, x_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """B x C x H x W, H and W multiples of 32 -> four maps of `channels`, at H/4 x W/4 down to H/32 x W/32."""
        maps_BChw = []
        for embedding, blocks, norm in zip(self.embeddings, self.stages, self.norms, strict=True):
            x_BNC, size = embedding(x_BCHW)
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList
                x_BNC = block(x_BNC, size)
            x_BCHW = _map(norm(x_BNC), size)
            maps_BChw.append(x_BCHW)
        return maps_BChw


class Head(nn.Module):
    """The all-MLP decoder (3.2): every map projected to one width, upsampled, joined coarsest first, and fused."""

    def __init__(self, channels: Sequence[int], width: int, classes: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(before, width) for before in channels)
        self.fuse = nn.Conv2d(len(channels) * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(DROPOUT)
        self.score = nn.Conv2d(width, classes, 1)

    def forward(self, maps_BChw: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits B x K x h x w of the finest map's size."""
        size = maps_BChw[0].shape[2:]
        joined_BChw = [
            F.interpolate(_map(project(_tokens(x_BChw)), x_BChw.shape[2:]), size, mode="bilinear", align_corners=False)
            for project, x_BChw in zip(self.project, maps_BChw, strict=True)
        ]
        fused_BChw = F.relu(self.norm(self.fuse(torch.cat(joined_BChw[::-1], 1))), inplace=True)
        logits_BKhw: torch.Tensor = self.score(self.dropout(fused_BChw))
        return logits_BKhw


class SegFormer(nn.Module):
    """SegFormer; normalised float32 B x C x H x W in, logits B x K x H x W out.

    H and W must be multiples of `stride`, 32. `width` is the first stage's; the others are 2, 5 and 8 times as wide.
    `depths` are the numbers of blocks of the four stages, `head_width` the channels of the decoder.
    """

    paper: ClassVar[str] = "Xie et al. 2021, arXiv:2105.15203"

    def __init__(self, in_channels: int, classes: int, *, width: int, depths: Sequence[int], head_width: int) -> None:
        super().__init__()
        self.encoder = MixTransformer(in_channels, width, depths)
        self.stride = self.encoder.stride
        self.head = Head(self.encoder.channels, head_width, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                fan_out = module.weight[0, 0].numel() * module.out_channels // module.groups
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.score.weight, std=0.01)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return logits B x K x H x W."""
        logits_BKhw = self.head(self.encoder(x_BCHW))
        return F.interpolate(logits_BKhw, scale_factor=4.0, mode="bilinear", align_corners=False)

    def convert(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
        """Hugging Face's tensors under our names, ready for strict loading; None if they are something else.

        `SegformerForSemanticSegmentation` fills encoder and head, the last layer only if it has as many classes.
        `SegformerForImageClassification` (`nvidia/mit-b0`, ...) fills the encoder; its ImageNet classifier is left out.
        What the file does not give keeps the values it has in this network. Names that stand for nothing stay, so that
        loading can list them.
        """
        if not any(name.startswith("segformer.") for name in state):
            return None
        converted = {
            _renamed(name): tensor
            for name, tensor in state.items()
            if name not in ("classifier.weight", "classifier.bias")
        }
        own = self.state_dict()
        given = converted.get("head.score.weight")
        if given is None and not any(name.startswith("head.") for name in converted):
            return {**converted, **{name: tensor for name, tensor in own.items() if name.startswith("head.")}}
        if given is not None and len(given) != len(own["head.score.weight"]):
            converted |= {name: tensor for name, tensor in own.items() if name.startswith("head.score.")}
        return converted


def segformer_b0(in_channels: int, classes: int, *, width: int = 32, head_width: int = 256) -> SegFormer:
    """MiT-B0 of table 6."""
    return SegFormer(in_channels, classes, width=width, depths=(2, 2, 2, 2), head_width=head_width)


def segformer_b1(in_channels: int, classes: int, *, width: int = 64, head_width: int = 256) -> SegFormer:
    """MiT-B1: twice as wide."""
    return SegFormer(in_channels, classes, width=width, depths=(2, 2, 2, 2), head_width=head_width)


def segformer_b2(in_channels: int, classes: int, *, width: int = 64, head_width: int = 768) -> SegFormer:
    """MiT-B2: deeper, with a wider head."""
    return SegFormer(in_channels, classes, width=width, depths=(3, 4, 6, 3), head_width=head_width)


def _tokens(x_BChw: torch.Tensor) -> torch.Tensor:
    return x_BChw.flatten(2).transpose(1, 2)


def _map(x_BNC: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return x_BNC.transpose(1, 2).reshape(x_BNC.shape[0], x_BNC.shape[2], size[0], size[1])


def _renamed(name: str) -> str:
    for theirs, ours in RENAMED.items():
        name = re.sub(theirs, ours, name)
    return name
