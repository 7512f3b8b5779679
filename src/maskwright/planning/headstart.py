"""A head start: do installed ImageNet weights know what the classes are, or do colour and texture tell as much?

A few windows of training images are shown to the frozen encoder, once. A linear layer on its features is compared with
one on local filters, on images that neither was fitted to: where *things* decide, the features explain far more, and
training begins from them; where colour and texture decide, a network of our own from random weights is as good, and its
steps are quicker. The same features then give the linear layer from which training starts.

Shapes: N pixels, D features, K classes, H, W height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from maskwright.augment.loader import Store
from maskwright.datasets.samples import Sample
from maskwright.models.encoders import build_encoder
from maskwright.models.encoders.efficientnet_lite import EfficientNetLite
from maskwright.models.installed import InstalledWeights, load_installed
from maskwright.models.pixels import LinearPixels, PixelFeatures, at_features, fit_linear
from maskwright.planning.fingerprint import Fingerprint

IMAGES, WINDOW, PIXELS = 48, 384, 2000
"""Most images that are looked at, sides of the window that is seen of each, and pixels kept of it."""
COMPARED, COMPARED_PIXELS = 16, 1000
"""The same for what is compared with local filters."""
STEPS = 150
"""Of the fit of the linear layer that training starts from."""
PARTS = 4
"""Parts of the images, each of which is left out once."""
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of the linear layers that are compared, in units of the features' variance; the best counts, since few images want a
large one."""
SIGMAS = (1, 2, 4, 8)
"""Of the local filters, in pixels."""
PHOTOGRAPH = 0.25
"""Standard deviation of photographs in units of their range, about."""


def statistics(weights: InstalledWeights, fingerprint: Fingerprint) -> tuple[list[float], list[float]]:
    """Mean and deviation, in native values, that show the encoder these images as it was shown photographs.

    Types other than uint8 are seldom filled by their images: those are brought to the contrast of photographs.
    """
    channels = range(fingerprint.channels)
    if fingerprint.dtype == "uint8":
        mean, std = ([255 * of[channel % len(of)] for channel in channels] for of in (weights.mean, weights.std))
        return mean, std
    stretched = [std * weights.std[0] / PHOTOGRAPH for std in fingerprint.std]
    return list(fingerprint.mean), stretched


def encoder_features(weights: InstalledWeights, mean: Sequence[float], std: Sequence[float]) -> PixelFeatures:
    """The frozen encoder with its weights, for images of these statistics."""
    encoder = build_encoder(weights.encoder, len(mean))
    assert isinstance(encoder, EfficientNetLite)
    load_installed(encoder, weights.encoder)
    return PixelFeatures(encoder, mean=mean, std=std)


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """Pixels of training images, for the probe and for the linear layer; a list's entries are images."""

    features: list[torch.Tensor]
    """N x D float16, the encoder's."""
    local: list[torch.Tensor | None]
    """N' x D' float32, of the first pixels; None for images that are not compared."""
    targets: list[torch.Tensor]
    """N int64 class indices."""


def look(
    store: Store,
    samples: Sequence[Sample],
    fingerprint: Fingerprint,
    features: PixelFeatures,
    scale: float,
    *,
    compared: int = COMPARED,
) -> Pixels:
    """Show windows of at most `IMAGES` images to the encoder, and keep some labelled pixels of each.

    Images are spread evenly over the set; windows and pixels are drawn by the image's place in it. `compared` of them
    go through the local filters too.
    """
    ordered = sorted(samples, key=lambda sample: sample.id)
    classes = len(fingerprint.class_fraction)
    found = Pixels(features=[], local=[], targets=[])
    places = np.unique(np.linspace(0, len(ordered) - 1, min(IMAGES, len(ordered))).astype(int))
    filtered = set(places[np.linspace(0, len(places) - 1, min(compared, len(places))).astype(int)].tolist())
    for place in places.tolist():
        image, mask = store.get(ordered[place])
        if scale < 1:
            size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
            mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
        rng = np.random.default_rng(place)
        top, left = (int(rng.integers(max(1, side - WINDOW + 1))) for side in mask.shape)
        image, mask = image[top : top + WINDOW, left : left + WINDOW], mask[top : top + WINDOW, left : left + WINDOW]
        target_N = at_features(torch.from_numpy(mask)).flatten().long()
        kept_n = torch.from_numpy(rng.permutation(len(target_N)))
        kept_n = kept_n[target_N[kept_n] < classes][:PIXELS]
        if not len(kept_n):
            continue
        image_1CHW = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))[None]
        with torch.autocast("cpu", torch.bfloat16, enabled=fingerprint.bfloat16):
            features_DN = features(image_1CHW.contiguous(memory_format=torch.channels_last))[0].flatten(1)
        found.features.append(features_DN[:, kept_n].T.half())
        found.targets.append(target_N[kept_n])
        local_DHW = torch.from_numpy(_local_filters(image)) if place in filtered else None
        found.local.append(
            None if local_DHW is None else at_features(local_DHW).flatten(1)[:, kept_n[:COMPARED_PIXELS]].T
        )
    return found


def compare(pixels: Pixels, classes: int) -> tuple[float, float]:
    """What a linear layer explains by the encoder's features, and by local filters; see `explained`."""
    seen = [place for place, local in enumerate(pixels.local) if local is not None]
    features = [pixels.features[place][:COMPARED_PIXELS] for place in seen]
    targets = [pixels.targets[place][:COMPARED_PIXELS] for place in seen]
    local = [one for one in pixels.local if one is not None]
    return explained(features, targets, classes), explained(local, targets, classes)


def explained(features: Sequence[torch.Tensor], targets: Sequence[torch.Tensor], classes: int) -> float:
    """Fraction of the classes' variance that a linear layer explains on images that it was not fitted to.

    Least squares on one number for each class, whose normal equations of a part of the images are those of all without
    the part's own. Averaged over the classes that occur: from 0, for a layer that knows frequencies alone, to 1. A
    single image is divided into parts of its pixels.

    Parameters
    ----------
    features, targets
        N x D and N, for each image.
    classes
        K.
    """
    if len(features) == 1:
        features, targets = features[0].chunk(PARTS), targets[0].chunk(PARTS)
    groups = [part for part in np.array_split(np.arange(len(features)), min(PARTS, len(features))) if len(part)]
    target_NK = [F.one_hot(torch.cat([targets[i] for i in part]), classes).float() for part in groups]
    whole_ND = torch.cat(list(features)).float()
    mean_D, std_D = whole_ND.mean(0), whole_ND.std(0).clamp_min(1e-6)
    del whole_ND
    input_ND = [
        F.pad((torch.cat([features[i] for i in part]).float() - mean_D) / std_D, (0, 1), value=1.0) for part in groups
    ]
    gram_DD, moment_DK = [x.T @ x for x in input_ND], [x.T @ y for x, y in zip(input_ND, target_NK, strict=True)]
    count, all_DD, all_DK = sum(map(len, input_ND)), torch.stack(gram_DD).sum(0), torch.stack(moment_DK).sum(0)
    mean_K = torch.cat(target_NK).mean(0)
    total_K = sum(((y - mean_K).square().sum(0) for y in target_NK), torch.zeros(classes))
    occurs = total_K > 0
    best = 0.0
    for ridge in RIDGES if occurs.any() else ():
        left_K = torch.zeros(classes)
        for x, y, own_DD, own_DK in zip(input_ND, target_NK, gram_DD, moment_DK, strict=True):
            ridge_DD = ridge * count * torch.eye(len(all_DD))
            weight_DK = torch.linalg.solve(all_DD - own_DD + ridge_DD, all_DK - own_DK)
            left_K += (y - x @ weight_DK).square().sum(0)
        best = max(best, float((1 - left_K[occurs] / total_K[occurs]).mean()))
    return best


def linear_start(pixels: Pixels, classes: int, seed: int) -> LinearPixels:
    """The linear layer that training starts from, fitted to all pixels that were looked at."""
    return fit_linear(torch.cat(pixels.features), torch.cat(pixels.targets), classes, steps=STEPS, seed=seed)


def _local_filters(image_HWC: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Colour and texture around each pixel, D' x H x W float32: what a filter of a few pixels can see.

    For each channel its value and, at each of `SIGMAS`, the smoothed value, the strength of edges, and blobs and how
    strong they are about here.
    """
    found: list[Any] = []
    for channel in range(image_HWC.shape[2]):
        value = image_HWC[..., channel].astype(np.float32)
        found.append(value)
        for sigma in SIGMAS:
            smooth = cv2.GaussianBlur(value, (0, 0), sigma)
            edges = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
            blobs = cv2.Laplacian(smooth, cv2.CV_32F)
            strength = np.sqrt(cv2.GaussianBlur(blobs**2, (0, 0), sigma))
            found += [smooth, cv2.GaussianBlur(edges, (0, 0), sigma), blobs, strength]
    return np.stack(found)
