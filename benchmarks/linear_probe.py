"""A linear layer on frozen ImageNet features of EfficientNet-Lite: are the weights and their normalisation right?

    python benchmarks/linear_probe.py DATA/train DATA/val [--encoder lite0] [--images 60] [--reduce 2]

No training of the network and no augmentation. A wrong normalisation shows here at once: on CamVid it costs 0.05 mIoU.
`--reduce` shows images smaller, by averaging; masks keep their size, and scores are at that size. `--random` leaves the
encoder as it starts, `--imagenet` takes ImageNet's mean and deviation instead of the weights' own.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from maskwright import open_dataset
from maskwright.models.encoders import build_encoder
from maskwright.models.encoders.efficientnet_lite import EfficientNetLite
from maskwright.models.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD
from maskwright.models.installed import INSTALLED, load_installed
from maskwright.models.pixels import PixelFeatures, at_features, fit_linear


def main() -> None:
    """Fit on one folder, score on another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--encoder", choices=list(INSTALLED), default="lite0")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--reduce", type=int, default=1)
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--imagenet", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    begin = time.perf_counter()
    encoder = build_encoder(arguments.encoder, 3)
    assert isinstance(encoder, EfficientNetLite)
    if not arguments.random and load_installed(encoder, arguments.encoder) is None:
        parser.error(INSTALLED[arguments.encoder].missing)
    weights = INSTALLED[arguments.encoder]
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if arguments.imagenet else (weights.mean, weights.std)
    extract = PixelFeatures(encoder, mean=[255 * v for v in mean], std=[255 * v for v in std])
    train, test = open_dataset(arguments.train), open_dataset(arguments.test)
    classes = len(train.classes)
    features, targets = [], []
    places = np.linspace(0, len(train.samples) - 1, min(arguments.images, len(train.samples))).astype(int)
    for place in places:
        sample = train.read(train.samples[place])
        image_1CHW = shown(sample.image, arguments.reduce)
        mask_HW = torch.from_numpy(sample.mask)
        small_HW = mask_HW[:: arguments.reduce, :: arguments.reduce][: image_1CHW.shape[2], : image_1CHW.shape[3]]
        features.append(extract(image_1CHW)[0].flatten(1).T.half())
        targets.append(at_features(small_HW).flatten())
    layer = fit_linear(torch.cat(features), torch.cat(targets), classes)
    confusion_KK = np.zeros((classes, classes), dtype=np.int64)
    for known in test.samples:
        sample = test.read(known)
        image_1CHW = shown(sample.image, arguments.reduce)
        with torch.inference_mode():
            logits_1KHW = layer(extract(image_1CHW), (image_1CHW.shape[2], image_1CHW.shape[3]))
            full_1KHW = F.interpolate(logits_1KHW, sample.mask.shape, mode="bilinear", align_corners=False)
            predicted_HW = full_1KHW.argmax(1)[0].numpy()
        labelled_HW = sample.mask < classes
        pairs = classes * sample.mask[labelled_HW].astype(np.int64) + predicted_HW[labelled_HW]
        confusion_KK += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    union_K = confusion_KK.sum(0) + confusion_KK.sum(1) - confusion_KK.diagonal()
    iou_K = confusion_KK.diagonal()[union_K > 0] / union_K[union_K > 0]
    found = {
        "miou": round(float(iou_K.mean()), 4),
        "pixel_accuracy": round(float(confusion_KK.trace() / confusion_KK.sum()), 4),
        "images": len(targets),
        "test_images": len(test.samples),
        "seconds": round(time.perf_counter() - begin, 1),
    }
    print(json.dumps(found) if arguments.json else "  ".join(f"{name} {value}" for name, value in found.items()))


def shown(image_HWC: np.ndarray, reduce: int) -> torch.Tensor:
    """1 x C x H x W, float32 in native values, reduced by averaging."""
    image_1CHW = torch.from_numpy(np.ascontiguousarray(image_HWC.transpose(2, 0, 1)))[None].float()
    return F.avg_pool2d(image_1CHW, reduce) if reduce > 1 else image_1CHW


if __name__ == "__main__":
    main()
