"""Weights from the Hugging Face Hub by name, `hf://org/repo`, through huggingface_hub (extra `hub`) and its cache."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from maskwright.errors import ModelError
from maskwright.models.loading import HUB_SCHEME

NAMES = ("model.safetensors", "pytorch_model.bin")
"""What weights are called on the hub, the best first."""
SETTINGS = ("preprocessor_config.json", "config.json")


def is_hub_name(name: Path | str) -> bool:
    """Whether this names weights on the hub, and no local file."""
    return str(name).startswith(HUB_SCHEME)


def fetch(name: Path | str) -> Path:
    """The local file for `hf://org/repo` or `hf://org/repo/file`, downloaded to huggingface_hub's cache if need be.

    `repo@revision` names a branch, tag or commit. Without a file: `model.safetensors`, else the only .safetensors file,
    else `pytorch_model.bin`; its settings come with it and stand beside it. With `HF_HUB_OFFLINE=1` nothing is
    downloaded. Raises ModelError if the name is none, huggingface_hub is not installed, or the hub and the cache have
    no such weights.
    """
    repo, file = _parts(str(name))
    if file:
        beside = [str(PurePosixPath(file).with_name(settings)) for settings in SETTINGS]
        path = _snapshot(str(name), repo, [file, *beside]) / file
        if path.is_file():
            return path
        raise ModelError(
            f"{name}: {repo} has no file {file}. Its files: https://huggingface.co/{repo.partition('@')[0]}."
        )
    for wanted in ("model.safetensors", "*.safetensors", "pytorch_model.bin"):
        found = sorted(_snapshot(str(name), repo, [wanted, *SETTINGS]).glob(wanted))
        if len(found) > 1:
            raise ModelError(
                f"{name} has {len(found)} files of weights: {', '.join(path.name for path in found)}.",
                remedy=f"Name one: hf://{repo}/{found[0].name}.",
            )
        if found:
            return found[0]
    raise ModelError(f"{name} has no weights: expected model.safetensors or pytorch_model.bin in {repo}.")


def image_statistics(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std that the settings beside a file of the hub tell, for values from 0 to 1; None if they do not.

    transformers keeps them in `preprocessor_config.json`, timm in `config.json`.
    """
    for name in SETTINGS if path.name in NAMES else ():
        settings = _read(path.with_name(name))
        timm_s = settings.get("pretrained_cfg", {})
        for mean, std in (
            (settings.get("image_mean"), settings.get("image_std")),
            (timm_s.get("mean"), timm_s.get("std")),
        ):
            if mean and std:
                return tuple(map(float, mean)), tuple(map(float, std))
    return None


def _parts(name: str) -> tuple[str, str]:
    """Repository and file, which is "" if none is named."""
    org, _, rest = name.removeprefix(HUB_SCHEME).removeprefix("/").partition("/")
    repo, _, file = rest.partition("/")
    if not org or not repo:
        raise ModelError(
            f"{name!r} names no weights.", expected="Expected hf://ORGANISATION/REPOSITORY, or with /FILE after it."
        )
    return f"{org}/{repo}", file


def _snapshot(name: str, repo: str, patterns: list[str]) -> Path:
    try:
        import huggingface_hub
    except ImportError:
        raise ModelError(
            f"{name} needs huggingface_hub.",
            remedy=("Install it with `pip install 'maskwright[hub]'`, or download the file and give its path."),
        ) from None
    try:
        repo, _, revision = repo.partition("@")
        return Path(huggingface_hub.snapshot_download(repo, revision=revision or None, allow_patterns=patterns))
    except Exception as error:  # its own, the HTTP client's and the operating system's, without a common class
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(
            f"{name} is neither in the cache of huggingface_hub nor could it be downloaded ("
            f"{type(error).__name__}: {reason}).",
            remedy="Check the name and the connection, or download the file and give its path.",
        ) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
