"""The verb that makes masks: predict."""

from __future__ import annotations

from pathlib import Path

from maskwright import console
from maskwright.cli import Json, Switch
from maskwright.errors import SettingError


def predict(
    model: Path,
    *images: str,
    out: Path | None = None,
    overlays: bool = True,
    probabilities: Switch = False,
    uncertainty: Switch = False,
    crf: Switch = False,
    fast: Switch = False,
    overwrite: Switch = False,
    json: Json = False,
) -> None:
    """Predict masks of images: files, folders, or patterns in quotes. Originals stay untouched.

    Example: `maskwright predict runs/cells "new/*.png" --out masks`

    Parameters
    ----------
    model
        A run folder.
    images
        Images, folders (with or without `images/`), or glob patterns.
    out
        Folder for `masks/`, `overlays/`, ...; `RUN/predictions` by default.
    overlays
        Write pictures of the image under its mask.
    probabilities
        Write `probabilities/NAME.npz`: array `probabilities`, K x H x W float16, and `classes`.
    uncertainty
        Write `uncertainty/NAME.png`: 16-bit grey, entropy over log K, 65535 is 1.
    crf
        Refine probabilities with a dense CRF on the image: edges follow colours (Krähenbühl & Koltun 2011).
    fast
        One pass for each image, where the run averages mirrored ones: up to four times as fast, a little less accurate.
    overwrite
        Replace files that Maskwright did not write, or that were changed since.
    """
    from maskwright import runs
    from maskwright.outputs import guarded
    from maskwright.predict import files
    from maskwright.predict.files import Written, find_images, predict_files
    from maskwright.predict.predictor import Predictor

    if not images:
        raise SettingError('predict needs images, for example: maskwright predict runs/cells "new/*.png"')
    predictor = Predictor.load(model)
    if crf:
        from maskwright.predict.crf import CRFSettings

        predictor.crf = CRFSettings()
    if fast and not any(predictor.flips):
        raise SettingError(
            f"--fast has no effect: {model} makes one pass for each image as it is.", remedy="Leave it out."
        )
    predictor.flips = (False, False) if fast else predictor.flips
    folder = out or model / "predictions"
    runs.require_writable(folder)
    written: list[Written] = []
    asked = {"verb": "predict", "model": str(model.resolve()), "fast": fast, **predictor.refinements}
    parts = (files.MASKS, files.OVERLAYS, files.PROBABILITIES, files.UNCERTAINTY)
    try:
        with (
            guarded(*(folder / part for part in parts), asked=asked, overwrite=overwrite),
            console.counting("predicting") as progress,
        ):
            predict_files(
                predictor,
                find_images(*images, say=console.say),
                folder,
                overlays=overlays,
                probabilities=probabilities,
                uncertainty=uncertainty,
                progress=progress,
                each=written.append,
            )
    finally:  # what was predicted is told, whatever became of the rest
        if json:
            console.print_json([one.to_json() for one in written])
    console.say(
        f"Wrote {len(written)} mask(s) to {folder / 'masks'}"
        + (f" and overlays to {folder / 'overlays'}" if overlays else "")
    )
