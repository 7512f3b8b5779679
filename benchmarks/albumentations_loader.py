"""The rival of `loader.py`: albumentations with a plain torch DataLoader, in an environment of its own.

    python benchmarks/albumentations_loader.py FOLDER --operations plan --order usual --cores 2 --workers 2 --seconds 10

FOLDER holds `images/` and `masks/` of PNG files with equal names. Prints one JSON line with `pairs_per_second`. Needs
albumentations 2.0.8, torch, OpenCV and NumPy; nothing of Maskwright.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

CROP, BATCH = 512, 8


def read(folder: Path, name: str) -> tuple[Any, Any]:
    """One pair, as an image loader of this kind reads it."""
    import cv2

    image = cv2.imread(str(folder / "images" / name), cv2.IMREAD_COLOR_RGB)
    return image, cv2.imread(str(folder / "masks" / name), cv2.IMREAD_UNCHANGED)


def pipeline(operations: str, order: str) -> Any:
    """The operations of `loader.py`, in albumentations' terms.

    `usual` warps the image and crops afterwards, as its documentation and most code does. `tuned` crops first, as much
    as the largest view needs, warps that, and crops its middle: less work, but the crop no longer reaches into the
    corners.
    """
    import albumentations as A
    import cv2
    from albumentations.pytorch import ToTensorV2

    mirrored: dict[str, Any] = {"border_mode": cv2.BORDER_REFLECT_101, "fill_mask": 255}
    geometry = [A.Affine(scale=(0.66, 1.5), rotate=(-10, 10), p=1, **mirrored)]
    if operations == "all":
        geometry += [
            A.Perspective(scale=(0.0, 0.1), keep_size=True, p=1, **mirrored),
            A.ElasticTransform(alpha=120, sigma=12, p=1, **mirrored),
        ]
    size = (CROP, CROP)
    if order == "usual":
        geometry = [*geometry, A.PadIfNeeded(*size, **mirrored), A.RandomCrop(*size)]
    else:
        largest = round(1.55 * CROP)
        geometry = [
            A.RandomCrop(largest, largest, pad_if_needed=True, **mirrored),
            *geometry,
            A.CenterCrop(*size),
        ]
    tones = [A.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.25, p=1)]
    if operations == "all":
        tones += [
            A.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=40, val_shift_limit=0, p=1),
            A.RandomGamma(gamma_limit=(70, 150), p=1),
            A.RGBShift(r_shift_limit=10, g_shift_limit=10, b_shift_limit=10, p=1),
            A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, 1.5), p=0.25),
            A.Downscale(scale_range=(0.5, 0.99), p=0.25),
            A.GaussNoise(std_range=(0.0, 0.1), p=0.25),
            A.ImageCompression(quality_range=(40, 95), p=0.25),
            A.CoarseDropout(
                num_holes_range=(1, 1), hole_height_range=(0.01, 0.4), hole_width_range=(0.01, 0.4), p=0.25
            ),
        ]
    return A.Compose([*geometry, A.HorizontalFlip(p=0.5), *tones, ToTensorV2()])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--operations", choices=("plan", "all"), default="plan")
    parser.add_argument("--order", choices=("usual", "tuned"), default="usual")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--decode", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: options.cores]))

    import cv2
    import torch
    from torch.utils.data import DataLoader, Dataset

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    names = sorted(file.name for file in (options.folder / "images").iterdir())
    pairs = None if options.decode else [read(options.folder, name) for name in names]
    transform = pipeline(options.operations, options.order)

    class Pairs(Dataset):  # type: ignore[type-arg]
        """Endless: the loader is stopped by the clock."""

        def __len__(self) -> int:
            return 10**9

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            index %= len(names)
            image, mask = read(options.folder, names[index]) if pairs is None else pairs[index]
            made = transform(image=image, mask=mask)
            return made["image"], made["mask"]

    batches = iter(DataLoader(Pairs(), batch_size=BATCH, num_workers=options.workers))
    count, start = 0, 0.0
    for number, (images, masks) in enumerate(batches):
        images.float(), masks.long()
        if number == 2 + options.workers:  # the first ones were made while the workers started
            start = time.perf_counter()
        elif start:
            count += BATCH
            if time.perf_counter() - start > options.seconds:
                break
    print(json.dumps({"pairs_per_second": count / (time.perf_counter() - start)}), flush=True)
    os._exit(0)  # the workers would be waited for


if __name__ == "__main__":
    main()
