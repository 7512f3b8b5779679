"""A random forest as the classifier (extra `forest`): trained by scikit-learn, kept and run as ONNX.

Nothing is pickled, and no tree is walked by code of ours.

Shapes: N pixels, D features, K classes, S pixels along a tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from maskwright.errors import SettingError
from maskwright.pixels import maps
from maskwright.pixels.maps import Maps

TREES = 100


class Forest:
    """A forest that was trained, as the bytes of an ONNX file.

    Raises SettingError if onnxruntime is not installed.
    """

    def __init__(self, onnx: bytes) -> None:
        runtime = _required("onnxruntime")
        self.onnx = onnx
        self._session = runtime.InferenceSession(onnx, providers=["CPUExecutionProvider"])

    def probabilities(self, maps_: Maps) -> torch.Tensor:
        """See `model.Head`."""
        side = (
            maps_[0].values_Dhw.shape[1]
            if maps_[0].stride == 1
            else (maps_[0].values_Dhw.shape[1] - 2) * maps_[0].stride
        )
        places_N = torch.arange(side * side)
        features_ND = maps.read(maps_, places_N // side, places_N % side)
        (p_NK,) = self._session.run(["probabilities"], {"features": features_ND.numpy()})
        return torch.from_numpy(np.ascontiguousarray(p_NK.T)).reshape(-1, side, side)


def fit_forest(
    features_ND: torch.Tensor, target_N: torch.Tensor, chance_N: torch.Tensor, classes: int, *, seed: int = 0
) -> Forest:
    """Train a forest; a pixel weighs as much as its chance.

    Raises SettingError if scikit-learn, skl2onnx or onnxruntime is not installed.
    """
    ensemble, skl2onnx = _required("sklearn.ensemble"), _required("skl2onnx")
    forest = ensemble.RandomForestClassifier(TREES, random_state=seed, n_jobs=-1, min_samples_leaf=2)
    forest.fit(features_ND.numpy(), target_N.numpy(), sample_weight=(chance_N / chance_N.mean()).numpy())
    kind = skl2onnx.common.data_types.FloatTensorType([None, features_ND.shape[1]])
    converted: Any = skl2onnx.to_onnx(
        forest, initial_types=[("features", kind)], options={id(forest): {"zipmap": False}}, target_opset=17
    )
    return Forest(_with_all_classes(converted, forest.classes_, classes))


def _with_all_classes(converted: Any, known: np.ndarray, classes: int) -> bytes:
    """The forest's ONNX; a class without strokes gets a probability of 0."""
    if len(known) < classes:
        onnx = _required("onnx")
        spread = np.zeros((len(known), classes), np.float32)
        spread[np.arange(len(known)), known] = 1
        graph = converted.graph
        own = next(one for one in graph.output if one.name == "probabilities")
        for node in graph.node:
            node.output[:] = ["known" if name == "probabilities" else name for name in node.output]
        graph.initializer.append(onnx.numpy_helper.from_array(spread, "spread"))
        graph.node.append(onnx.helper.make_node("MatMul", ["known", "spread"], ["probabilities"]))
        own.type.tensor_type.shape.dim[1].dim_value = classes
    return bytes(converted.SerializeToString())


def _required(module: str) -> Any:
    """A module of the extra `forest`."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError:
        raise SettingError(
            f"A random forest needs {module.split('.')[0]}, which is not installed.",
            remedy="pip install maskwright[forest]",
        ) from None
