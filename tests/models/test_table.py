"""Building a network of the table by its name: seeds, options, and what is refused. `test_contract.py` has the rest."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from maskwright.errors import ModelError
from maskwright.models import build, model_options


def test_same_seed_builds_the_same_network() -> None:
    def state(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        return build("unet", 3, 2, {"widths": [4, 8]}).state_dict()

    one, same, other = state(3), state(3), state(4)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["narrow.weight"], other["narrow.weight"])


def test_a_network_is_imported_when_it_is_built() -> None:
    program = (
        "import sys\nimport maskwright.models as models\n"
        "before = {name.split('.')[2] for name in sys.modules if name.startswith('maskwright.models.')}\n"
        "files = {row.file for row in models.MODELS.values()}\n"
        "assert len(files) > 15 and not before & files, before & files\n"
        "models.build('pspnet', 3, 2, {'width': 4})\n"
        "built = {file for file in files if f'maskwright.models.{file}' in sys.modules}\n"
        "assert built == {'pspnet', 'dilated'}, built\n"  # whose head it shares
        "assert 'maskwright.models.encoders.alexnet' not in sys.modules\n"
        "assert models.unet(input_size=(16, 16, 1)) and callable(models.unet)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_network_is_refused_with_near_names() -> None:
    with pytest.raises(ModelError, match=r"no network 'unnet' \(did you mean 'unet' or .*fcn32s"):
        build("unnet", 3, 2)


def test_an_unknown_option_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ModelError, match=r"'fcn-flat' has no option 'dept' \(did you mean 'depth'\?\).*depth \(default 8\)"
    ):
        build("fcn-flat", 3, 2, {"dept": 3})


def test_what_a_name_fixes_is_no_option() -> None:
    assert model_options("fcn8s") == {"encoder": "resnet18", "width": 64}
    assert model_options("fcn8s-resnet50") == {"width": 64}
    with pytest.raises(ModelError, match="no option 'encoder'"):
        build("fcn8s-resnet50", 3, 2, {"encoder": "resnet18"})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("fcn-flat", {"depth": 2.5}, "depth = 2.5 .*whole number from 1"),
        ("fcn-flat", {"depth": True}, "depth = True .*whole number from 1"),
        ("fcn-flat", {"depth": 0}, "depth = 0 .*whole number from 1"),
        ("unet", {"widths": 8}, r"widths = 8 .*list of whole numbers"),
        ("unet", {"widths": []}, r"widths = \[\] .*list of whole numbers"),
        ("unet", {"widths": [8, "16"]}, "list of whole numbers"),
        ("unet", {"dropout": "half"}, "dropout = 'half' .*a number"),
        ("unet", {"dropout": 1.0}, r"dropout = 1\.0.*below 1"),
        ("fcn8s", {"encoder": 18}, "encoder = 18 .*a name"),
        ("fcn8s", {"encoder": "vgg61"}, "no encoder 'vgg61'.*vgg16, resnet18, resnet34, resnet50"),
    ],
)
def test_unsuitable_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(name, 3, 2, options)


@pytest.mark.parametrize(
    ("channels", "classes", "message"),
    [(0, 2, "1 input channel"), (3, 1, "2 to 255"), (3, 256, "2 to 255")],
)
def test_impossible_channels_and_classes_are_refused(channels: int, classes: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build("unet", channels, classes)
