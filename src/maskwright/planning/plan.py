"""The plan as a record and as a file: what was decided, with reasons; `rules.py` decides.

A run keeps it as `plan.toml`, so that nothing has to be remembered and everything can be overridden, on the command
line or in a recipe.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from maskwright import runs
from maskwright.config import RENAMED_SETTINGS, Settings
from maskwright.errors import RunError
from maskwright.planning.budget import TimeEstimate
from maskwright.planning.decisions import Budget, Decision, ResolvedTraining
from maskwright.planning.fingerprint import FORMER_NAMES


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings of a run, complete, and why they are what they are."""

    settings: Settings
    decisions: dict[str, dict[str, Decision]]
    """By section and name, as in `Settings`."""
    fingerprint: dict[str, Any]
    time_estimate: TimeEstimate | None = None
    """None where a step's time was not measured."""

    @property
    def training(self) -> ResolvedTraining:
        """How a step is made: what the training code goes by.

        Raises
        ------
        RunError
            If the plan's file leaves something open.
        """
        return ResolvedTraining.of(self.settings.training)

    @property
    def budget(self) -> Budget:
        """How long the run lasts."""
        return Budget.of(self.settings.training)

    @property
    def mirrored(self) -> dict[str, bool]:
        """In which directions predictions are averaged over mirrored images."""
        on, views = self.training.tta, self.settings.augmentation
        return {"horizontal": on and bool(views.flip_horizontal), "vertical": on and bool(views.flip_vertical)}

    def to_toml(self) -> str:
        """The text of `plan.toml`."""
        content: dict[str, Any] = {
            section: {name: {"value": d.value, "reason": d.reason, "source": d.source} for name, d in names.items()}
            for section, names in self.decisions.items()
        }
        estimate = {} if self.time_estimate is None else {"time_estimate": asdict(self.time_estimate)}
        return tomli_w.dumps({**content, **estimate, "fingerprint": self.fingerprint})

    def to_json(self) -> dict[str, Any]:
        """What `maskwright plan --json` prints; for one version with the former names beside the new ones."""
        former = {new: old for old, new in RENAMED_SETTINGS.items()}
        fields = {new: old for old, new in FORMER_NAMES.items()}
        decisions = {
            section: {
                key: vars(decision)
                for name, decision in names.items()
                for key in ((name, former[name]) if name in former else (name,))
            }
            for section, names in self.decisions.items()
        }
        estimate = None if self.time_estimate is None else vars(self.time_estimate)
        facts = {fields.get(name, name): value for name, value in self.fingerprint.items()}
        told = {"decisions": decisions, "time_estimate": estimate, "fingerprint": self.fingerprint}
        return told | {"outlook": estimate, "facts": facts}

    def save(self, folder: Path) -> None:
        """Write `plan.toml` into a run."""
        runs.write_text(folder / runs.PLAN, self.to_toml())

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read the plan of a run; RunError if it is missing or unreadable."""
        path = folder / runs.PLAN
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read: {error}.", remedy="Restore it from a copy, or train again.", file=path
            ) from None
        with runs.understood(path):
            return cls._of(content, path)

    @classmethod
    def _of(cls, content: dict[str, Any], path: Path) -> Plan:
        # The first version called the two sections facts and outlook.
        fingerprint = content.pop("fingerprint", content.pop("facts", {}))
        estimate = content.pop("time_estimate", content.pop("outlook", None))
        decisions = {
            section: {RENAMED_SETTINGS.get(name, name): Decision(**decision) for name, decision in names.items()}
            for section, names in content.items()
        }
        values = {section: {name: d.value for name, d in names.items()} for section, names in decisions.items()}
        return cls(
            settings=Settings.from_dict(values, str(path)),
            decisions=decisions,
            fingerprint=fingerprint,
            time_estimate=None if estimate is None else TimeEstimate(**estimate),
        )

    def with_budget(self, *, minutes: float | None = None, steps: int | None = None, reason: str) -> Plan:
        """The same plan with another budget: minutes or steps."""
        kept = {k: v for k, v in self.decisions["training"].items() if k not in ("minutes", "steps")}
        name, value = ("steps", steps) if minutes is None else ("minutes", minutes)
        decisions = self.decisions | {"training": kept | {name: Decision(value=value, reason=reason, source="given")}}
        training = replace(self.settings.training, minutes=minutes, steps=steps)
        return replace(
            self, settings=replace(self.settings, training=training), decisions=decisions, time_estimate=None
        )

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Name, value, reason and source of each decision, for a table."""
        return [
            (name, _shown(decision.value), decision.reason, decision.source)
            for names in self.decisions.values()
            for name, decision in names.items()
        ]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return " ".join(_shown(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
