"""Scores of cross-validation: every sample is segmented by the model that was trained without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from maskwright import runs
from maskwright.datasets.formats import open_dataset
from maskwright.datasets.samples import Dataset, Sample
from maskwright.errors import RunError
from maskwright.evaluate.evaluator import Evaluation, evaluate
from maskwright.predict.crf import CRFSettings
from maskwright.predict.predictor import Predictor

NAME = "out-of-fold"
"""Folder of the evaluation."""


class OutOfFold:
    """The models of a run with folds, by the samples that each has not seen."""

    def __init__(self, run: Path) -> None:
        """Load every fold's model; raises RunError if `run` has no folds, or not all of them are trained."""
        content = runs.read_run(run)
        if content.get("kind") != "folds":
            raise RunError(
                f"{run} was trained without folds, so all its models have seen the training samples.",
                remedy=f"Give other data: maskwright evaluate {run} DATA",
            )
        self.predictors: dict[str, Predictor] = {}
        with runs.understood(run / runs.RUN):
            for fold in range(content["folds"]):
                folder = run / runs.FOLDS / str(fold)
                predictor = Predictor.load(folder)
                self.predictors |= dict.fromkeys(predictor.run["data"]["validation"], predictor)
            self.data = Path(content["data"]["path"])
            self.any = predictor

    def __call__(self, sample: str) -> Predictor:
        """The model that has not seen a sample; raises RunError for a sample that is not of the training data."""
        if sample not in self.predictors:
            raise RunError(f"{sample} is not among the samples that the folds were trained on.")
        return self.predictors[sample]

    def dataset(self) -> Dataset:
        """The data of the folds; raises RunError if a sample is gone."""
        dataset = open_dataset(self.data, classes=self.any.classes)
        samples = tuple(sample for sample in dataset.samples if sample.id in self.predictors)
        if len(samples) != len(self.predictors):
            gone = sorted(self.predictors.keys() - {sample.id for sample in samples})
            raise RunError(
                f"{self.data} has changed: {len(gone)} samples are gone, for example {gone[0]}.", remedy="Restore them."
            )
        return dataset.with_samples(samples)


def evaluate_out_of_fold(
    run: Path,
    out: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    failed: dict[str, str] | None = None,
) -> Evaluation:
    """Score every training sample of a run with folds by the model that has not seen it, and write it to `out`.

    `failed` is as for `evaluate`.
    """
    models = OutOfFold(run)

    def of(sample: Sample) -> Predictor:
        return models(sample.id)

    return evaluate(models.any, models.dataset(), out, progress=progress, answerer_of=of, failed=failed)


def answerer_of(run: Path, predictor: Predictor, evaluation: Evaluation) -> Callable[[str], Predictor]:
    """For each sample of an evaluation the model that segmented it: with folds the one that has not seen it.

    The predictor is asked for what the evaluation was.
    """
    asked = evaluation.refinements
    predictor.crf = CRFSettings(**asked["crf"]) if "crf" in asked else None
    predictor.flips = tuple(asked["flips"]) if "flips" in asked else predictor.flips
    if predictor.run["kind"] == "folds":
        models = OutOfFold(run)
        if models.predictors.keys() >= set(evaluation.ids):
            return models
    return lambda sample: predictor
