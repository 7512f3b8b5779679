"""A small network for single pixels, or several that are trained side by side.

Members see the same batches, and each leaves out pixels of its own: the first layer of all of them is then one matrix
product, so that ten held-out fits cost a few times one.

Shapes: N pixels, n of a batch, D features, F members, H hidden units, X = F H, K classes, S pixels along a tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch.nn import functional as F

from maskwright.pixels.maps import Maps, layer

HIDDEN = 64
BATCH = 1024
RATE = 1e-2
WARM_RATE = 3e-3
WEIGHT_DECAY = 3.0
DROPPED = 0.5
"""Fraction of the features that a pixel is learnt without: a few strokes would be learnt by heart otherwise."""
ALIKE = 16
"""Pixels of a batch that lack the same features, since drawing them anew for each would take longer than the rest."""


class PixelMlp:
    """D standardised features, H rectified units, K logits; for each of F members.

    Parameters
    ----------
    tensors
        `mean` and `std` (D), by which features are standardised; `weight_1` (X x D), `bias_1` (X), `weight_2`
        (F x K x H), `bias_2` (F x K x 1).
    temperature
        By which logits are divided for probabilities.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], temperature: float = 1.0) -> None:
        self.mean_D, self.std_D = tensors["mean"], tensors["std"]
        self.weight_XD, self.bias_X = tensors["weight_1"], tensors["bias_1"]
        self.weight_FKH, self.bias_FK1 = tensors["weight_2"], tensors["bias_2"]
        self.temperature = temperature

    @classmethod
    def begin(
        cls, features_ND: torch.Tensor, classes: int, *, members: int = 1, hidden: int = HIDDEN, seed: int = 0
    ) -> Self:
        """An untrained one, that standardises by these features."""
        generator = torch.Generator().manual_seed(seed)
        features = features_ND.shape[1]
        first_XD = torch.randn(members * hidden, features, generator=generator) * (2 / features) ** 0.5
        second_FKH = torch.randn(members, classes, hidden, generator=generator) * (1 / hidden) ** 0.5
        return cls({
            "mean": features_ND.mean(0), "std": features_ND.std(0, correction=0).clamp_min(1e-4),
            "weight_1": first_XD, "bias_1": torch.zeros(len(first_XD)),
            "weight_2": second_FKH, "bias_2": torch.zeros(members, classes, 1),
        })  # fmt: skip

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What it is made of."""
        return {
            "mean": self.mean_D, "std": self.std_D, "weight_1": self.weight_XD, "bias_1": self.bias_X,
            "weight_2": self.weight_FKH, "bias_2": self.bias_FK1,
        }  # fmt: skip

    def copy(self) -> PixelMlp:
        """A copy, to be trained on while this one paints."""
        return PixelMlp({name: one.clone() for name, one in self.tensors.items()}, self.temperature)

    def standard(self, features_ND: torch.Tensor) -> torch.Tensor:
        """Features, standardised."""
        return (features_ND - self.mean_D) / self.std_D

    def logits(self, standard_nD: torch.Tensor) -> torch.Tensor:
        """Standardised features -> logits `F x K x n`."""
        members, _, hidden = self.weight_FKH.shape
        hidden_Xn = torch.addmm(self.bias_X[:, None], self.weight_XD, standard_nD.T).relu()
        return torch.baddbmm(self.bias_FK1, self.weight_FKH, hidden_Xn.reshape(members, hidden, -1))

    def fit(
        self, features_ND: torch.Tensor, target_N: torch.Tensor, chance_N: torch.Tensor, *, steps: int, seed: int = 0,
        rate: float = RATE, seen_FN: torch.Tensor | None = None,
    ) -> None:  # fmt: skip
        """Train on, by AdamW with dropout of features, the rate falling to zero over the second half.

        Parameters
        ----------
        features_ND, target_N
            Float32 features and class indices.
        chance_N
            How often each pixel is drawn, up to a factor.
        steps, seed, rate
            Of BATCH pixels each, or as many as there are; which pixels; how fast.
        seen_FN
            1 where a member sees a pixel, 0 where not; all see all if it is None.
        """
        generator = torch.Generator().manual_seed(seed)
        members, features = len(self.weight_FKH), features_ND.shape[1]
        batch = min(BATCH, -(-len(features_ND) // ALIKE) * ALIKE)
        trained = [self.weight_XD, self.bias_X, self.weight_FKH, self.bias_FK1]
        drawn_sn = torch.multinomial(chance_N, steps * batch, replacement=True, generator=generator).reshape(steps, -1)
        for one in trained:
            one.requires_grad_(True)
        optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=WEIGHT_DECAY, fused=True)
        for step, drawn_n in enumerate(drawn_sn):
            optimizer.param_groups[0]["lr"] = rate * min(1.0, 2 * (1 - step / steps))
            kept_D = torch.rand(batch // ALIKE, 1, features, generator=generator) >= DROPPED
            seen_nD = self.standard(features_ND[drawn_n]).reshape(-1, ALIKE, features) * (kept_D / (1 - DROPPED))
            logits_FKn = self.logits(seen_nD.reshape(batch, -1))
            loss_Fn = F.cross_entropy(logits_FKn, target_N[drawn_n].expand(members, -1), reduction="none")
            loss = (loss_Fn if seen_FN is None else loss_Fn * seen_FN[:, drawn_n]).mean(1).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        for one in trained:
            one.requires_grad_(False)

    def probabilities(self, maps: Maps) -> torch.Tensor:
        """The first member's probabilities at every pixel of a tile: float32 `K x S x S`."""
        hidden = self.weight_FKH.shape[2]
        scaled_HD = self.weight_XD[:hidden] / self.std_D
        hidden_HSS = layer(maps, scaled_HD, self.bias_X[:hidden] - scaled_HD @ self.mean_D).relu_()
        side = hidden_HSS.shape[1]
        logits_KN = torch.addmm(self.bias_FK1[0], self.weight_FKH[0], hidden_HSS.reshape(hidden, -1))
        return logits_KN.div_(self.temperature).softmax(0).reshape(-1, side, side)
