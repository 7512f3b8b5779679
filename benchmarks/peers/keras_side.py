"""The other side of `parity.py`: the classic U-Net in Keras, its files, an input and its output.

    KERAS/bin/python benchmarks/peers/keras_side.py FOLDER [--widths 64 128 256 512 1024] [--size 64 96]

Runs in an environment of its own and knows nothing of Maskwright. Writes the same random weights in every layout that
Keras has had: `model.hdf5` (a whole model, as Keras 1 and 2 save it), `weights.h5` (as `save_weights` of Keras 2),
`new.weights.h5` and `model.keras` (Keras 3); and `case.npz` with `input` (uint8, H x W x 1) and `output`, that of
input / 255.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.legacy.saving import legacy_h5_format


def unet(widths: list[int], size: tuple[int, int]) -> keras.Model:
    """The listing of github.com/zhixuhao/unet, with other widths and depths if told."""

    def conv(x: keras.KerasTensor, channels: int, kernel: int) -> keras.KerasTensor:
        start = keras.initializers.HeNormal(seed=next(seeds))
        return layers.Conv2D(channels, kernel, activation="relu", padding="same", kernel_initializer=start)(x)

    seeds = iter(range(100))
    x = image = layers.Input((*size, 1))
    skips = []
    for level, width in enumerate(widths):
        x = conv(conv(x, width, 3), width, 3)
        if level >= len(widths) - 2:
            x = layers.Dropout(0.5)(x)
        if level < len(widths) - 1:
            skips.append(x)
            x = layers.MaxPooling2D((2, 2))(x)
    for width in reversed(widths[:-1]):
        x = conv(layers.UpSampling2D((2, 2))(x), width, 2)
        x = layers.concatenate([skips.pop(), x], axis=3)
        x = conv(conv(x, width, 3), width, 3)
    x = conv(x, 2, 3)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x))


def main() -> None:
    """Write the files and the case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--size", type=int, nargs=2, default=[64, 96])
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    layers.Conv2D(1, 1)  # moves the numbers in the names of the layers, as every earlier network of a session does
    model = unet(options.widths, tuple(options.size))
    for weight in model.trainable_weights:
        if weight.ndim == 1:
            # Above zero, so that the two channels of the last ReLU are not dead and there is something to compare.
            weight.assign(rng.uniform(0.05, 0.3, weight.shape).astype(np.float32))
    image = rng.integers(0, 256, (*options.size, 1), dtype=np.uint8)
    output = model.predict(image[None].astype(np.float32) / 255, verbose=0)[0]
    assert np.ptp(output) > 0.01, "a network whose output is constant compares nothing"
    model.save(options.folder / "model.hdf5")
    with h5py.File(options.folder / "weights.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    model.save_weights(options.folder / "new.weights.h5")
    model.save(options.folder / "model.keras")
    np.savez(options.folder / "case.npz", input=image, output=output)


if __name__ == "__main__":
    main()
