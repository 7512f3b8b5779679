"""Options that several verbs share."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from maskwright.config import Augmentation, Preparation, Training

Json = Annotated[
    bool, Parameter(name="--json", negative="", show_default=False, help="Print the result as JSON on standard output.")
]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
TrainingOptions = Annotated[Training, Parameter(name="*", group="Training", negative_iterable="", show_default=False)]
AugmentationOptions = Annotated[Augmentation, Parameter(name="*", group="Augmentation", negative_iterable="")]
PreparationOptions = Annotated[
    Preparation, Parameter(name="*", group="Preparation of whole images", negative_iterable="")
]
Recipe = Annotated[
    str | None, Parameter(help="A recipe: a TOML file, or the name of one of Maskwright's own (unet-classic).")
]
