"""The other side of `throughput.py`: steps of the classic U-Net in Keras, timed.

    KERAS_BACKEND=tensorflow KERAS/bin/python benchmarks/peers/keras_speed.py --size 256 --batch 2 --steps 10

Runs in an environment of its own and knows nothing of Maskwright. The last line of its output is JSON: `name`, and
`seconds`, one number for each step after the first two, which trace and compile. Backends: tensorflow, jax, torch.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras_side import unet

WARM_UP = 2


def main() -> None:
    """Train on the same random batch, over and over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    model = unet([64, 128, 256, 512, 1024], (options.size, options.size))
    model.compile(optimizer=keras.optimizers.Adam(1e-4), loss="binary_crossentropy")
    rng = np.random.default_rng(0)
    shape = (options.batch, options.size, options.size, 1)
    x, y = rng.random(shape, dtype=np.float32), rng.integers(0, 2, shape).astype(np.float32)
    seconds = []
    for _ in range(WARM_UP + options.steps):
        start = time.perf_counter()
        loss = model.train_on_batch(x, y)
        assert np.isfinite(np.asarray(loss, dtype=np.float64)).all()  # waits for the result, too
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"name": f"Keras {keras.__version__}, {keras.backend.backend()}", "seconds": seconds[WARM_UP:]}))


if __name__ == "__main__":
    main()
