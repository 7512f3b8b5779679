"""Settings as options, for the verbs that plan or train."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from maskwright.config import Augmentation, Preparation, Training

TrainingOptions = Annotated[Training, Parameter(name="*", group="Training", negative_iterable="", show_default=False)]
AugmentationOptions = Annotated[Augmentation, Parameter(name="*", group="Augmentation", negative_iterable="")]
PreparationOptions = Annotated[
    Preparation, Parameter(name="*", group="Preparation of whole images", negative_iterable="")
]
Recipe = Annotated[
    str | None, Parameter(help="A recipe: a TOML file, or the name of one of Maskwright's own (unet-classic).")
]
