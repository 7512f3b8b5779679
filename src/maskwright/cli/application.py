"""The application that verbs register with, and the option types that several verbs share."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from maskwright import __version__
from maskwright.config import Augmentation, Preparation, Training

app = App(
    name="maskwright",
    help="Semantic segmentation: from a folder of images to a model you can trust, on the machine you have.",
    version=__version__,
    help_format="markdown",
)

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
