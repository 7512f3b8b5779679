"""Settings as options, for the verbs that plan or train."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Group, Parameter

from maskwright.config import Augmentation, Preparation, Training

# In the order in which `--help` shows them.
TRAINING, AUGMENTATION, PREPARATION = (
    Group.create_ordered(name) for name in ("Training", "Augmentation", "Preparation of whole images")
)
TrainingOptions = Annotated[Training, Parameter(name="*", group=TRAINING, negative_iterable="", show_default=False)]
AugmentationOptions = Annotated[Augmentation, Parameter(name="*", group=AUGMENTATION, negative_iterable="")]
PreparationOptions = Annotated[Preparation, Parameter(name="*", group=PREPARATION, negative_iterable="")]
Recipe = Annotated[
    str | None, Parameter(help="A recipe: a TOML file, or the name of one of Maskwright's own (unet-classic).")
]
