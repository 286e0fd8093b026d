"""A trained model on disk, as settings and tensors: a folder to share (JSON and safetensors, no code), or a checkpoint.

The folder holds `model.json` (settings, statistics of the inputs, versions, the run it is from), `weights.safetensors`,
`README.md` (the model card) and, where a site has a dispersion matrix that the package does not ship, `dispersion-<i>.csv`.
`model.json` is written last and has the SHA-256 of every other file but the card, so that a folder is whole or refused.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from canveg_jax.files import replacing, sha256

from ..checkpoints.format import read_checkpoint

FORMAT = "canveg-model"
FORMAT_VERSION = 1
"""Raise when a change makes folders that older releases cannot read."""

DESCRIPTION, WEIGHTS, CARD = "model.json", "weights.safetensors", "README.md"
STATISTICS = "statistics"
"""Entry of a checkpoint with `ScalingStatistics.to_dict()`."""

MAY_BE_UNKNOWN = "error_weights."
"""Tensors of this name hold NaN for what is not known."""

PACKAGES = ("canveg-torch", "jax", "jaxlib", "torch", "lightning", "numpy", "safetensors")


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """What a model is made of again.

    Args:
        kind: name of its class.
        settings: arguments of the class, plain data.
        tensors: its `state_dict`.
        statistics: `ScalingStatistics.to_dict()` of the training part; None: not kept, as in checkpoints of older releases.
        run: what is known of the training (`run_record`); None: nothing.
        versions: of Python and the packages that wrote it.
    """

    kind: str
    settings: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    statistics: dict[str, Any] | None = None
    run: dict[str, Any] | None = None
    versions: dict[str, str] = dataclasses.field(default_factory=dict)


def versions() -> dict[str, str]:
    """Of Python and of the packages that a model depends on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def open_stored(path: str | Path) -> StoredModel:
    """What a folder or a checkpoint holds. No code from the file is run.

    Raises:
        FileNotFoundError: there is neither.
        ValueError: a folder of something else, of a later release or damaged; a file that is no checkpoint. One line, with the
            remedy.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist. Give a checkpoint (runs/NAME/version_0/checkpoints/best.ckpt) or a folder of canveg share."
        )
    stored = read_folder(path) if path.is_dir() else model_of_checkpoint(path)
    for name, tensor in stored.tensors.items():
        if name.startswith(MAY_BE_UNKNOWN):
            continue
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(
                f"{path}: {name} holds numbers that are not finite, so every flux would be NaN: its training went astray, or "
                "it was changed. Use an earlier checkpoint."
            )
    return stored


# --- folders


def write_folder(folder: str | Path, model: StoredModel, card: str, more: Mapping[str, str] | None = None) -> Path:
    """Write a model; one that was there is replaced.

    Args:
        folder: made if it does not exist.
        model: `settings`, `statistics` and `run` must be plain data.
        card: text of the README.
        more: further text files by name, which belong to the model.

    Raises:
        FileExistsError: the folder holds something else.
        ValueError: a setting that JSON cannot hold.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a folder for the model.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / DESCRIPTION).is_file():
        raise FileExistsError(f"{folder} holds something else than a model; name another folder, which need not exist.")
    content = {
        "format": FORMAT, "format_version": FORMAT_VERSION, "kind": model.kind, "settings": model.settings,
        "statistics": model.statistics, "run": model.run, "versions": versions(),
    }  # fmt: skip
    _as_json(content)  # before anything is written
    files = {}
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.tensors.items()}
    with replacing(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors))  # `save_file` would make a file that its owner alone can read
    for name, text in (more or {}).items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for name in (WEIGHTS, *(more or {})):
        files[name] = sha256(folder / name)
    with replacing(folder / CARD) as temporary:
        temporary.write_text(card, encoding="utf-8")
    with replacing(folder / DESCRIPTION) as temporary:
        temporary.write_text(_as_json({**content, "sha256": files}), encoding="utf-8")
    return folder


def read_folder(folder: str | Path) -> StoredModel:
    """Read what `write_folder` wrote.

    Raises:
        ValueError: as `open_stored`.
    """
    folder = Path(folder)
    content = _description(folder)
    for name, digest in content["sha256"].items():
        if Path(name).name != name or not (folder / name).is_file():
            raise ValueError(f"{folder}: {name} is missing. Copy the whole folder again.")
        if sha256(folder / name) != digest:
            raise ValueError(
                f"{folder}: {name} is not the file that was written (damaged or changed). Copy the folder again."
            )
    sites = content["settings"].get("sites")
    matrices = [s.get("dispersion") for s in sites if isinstance(s, Mapping)] if isinstance(sites, list) else []
    if unknown := [str(name) for name in matrices if name is not None and name not in content["sha256"]]:
        raise ValueError(
            f"{folder}: {unknown[0]}, the dispersion matrix of a site, is none of its files. Copy the folder again."
        )
    try:
        tensors = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{folder}: {WEIGHTS} cannot be read ({error}). Copy the folder again.") from error
    return StoredModel(
        kind=content["kind"], settings=content["settings"], tensors=tensors, statistics=content.get("statistics"),
        run=content.get("run"), versions=content.get("versions", {}),
    )  # fmt: skip


def _description(folder: Path) -> dict[str, Any]:
    """`model.json`, seen to be one."""
    path = folder / DESCRIPTION
    if not path.is_file():
        raise ValueError(
            f"{folder} holds no model: it has no {DESCRIPTION}. Make one with canveg share CHECKPOINT FOLDER."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON that can be read ({error}). Copy the folder again.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} does not describe a model of canveg (expected format: {FORMAT}).")
    version = content.get("format_version")
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        wrote = content.get("versions")
        wrote = wrote.get("canveg-torch", "unknown") if isinstance(wrote, dict) else "unknown"
        raise ValueError(
            f"{path}: format version {version!r}, written by canveg-torch {wrote}; this release reads up to {FORMAT_VERSION}. "
            "Install a later release."
        )
    expected = {"kind": str, "settings": dict, "sha256": dict}
    wrong = [name for name, kind in expected.items() if not isinstance(content.get(name), kind)]
    wrong += [name for name in ("statistics", "run", "versions") if not isinstance(content.get(name), dict | None)]
    if wrong or WEIGHTS not in content["sha256"]:
        raise ValueError(
            f"{path} is damaged: {', '.join(wrong) or WEIGHTS} is missing or no mapping. Copy the folder again."
        )
    return content


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def _as_json(content: Any) -> str:
    try:
        return json.dumps(content, indent=1)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the model has a setting that JSON cannot hold ({error}); use plain numbers and names."
        ) from error


# --- checkpoints


def model_of_checkpoint(path: str | Path) -> StoredModel:
    """The model in a checkpoint of `HybridCanopy` or `FluxNetwork`.

    Raises:
        FileNotFoundError, ValueError: as of `checkpoints.format.read_checkpoint`; ValueError: it is of another model.
    """
    content = read_checkpoint(path)
    if not isinstance(content.get("hyper_parameters"), Mapping):
        raise ValueError(f"{path} is no checkpoint of canveg: it has no hyper_parameters.")
    settings = dict(content["hyper_parameters"])
    kind = "HybridCanopy" if "sites" in settings else "SequenceNetwork" if "memory" in settings else "FluxNetwork"
    return StoredModel(kind, settings, dict(content["state_dict"]), content.get(STATISTICS))


# --- classes of others


def refuse_foreign_classes(
    settings: Mapping[str, Any], allow: Collection[str], where: object, remedy: str | None = None
) -> None:
    """See that no setting names a class to import, but those of `allow`.

    Args:
        settings: of a stored model.
        allow: class paths that may be imported.
        where: file or folder, for the message.
        remedy: what to do if the code is trusted, with `{class_path}`; default: that of `from_pretrained`.

    Raises:
        ValueError: one does; the message names it.
    """
    remedy = remedy or "load with from_pretrained(..., allow=({class_path!r},)), or build the module and pass it"
    for name, class_path in class_paths(settings):
        if class_path not in allow:
            raise ValueError(
                f"{where}: {name} is computed by {class_path}, a class that is not part of this package. If you trust its code, "
                f"{remedy.format(class_path=class_path)}."
            )


def class_paths(settings: Any, name: str = "settings") -> Iterator[tuple[str, str]]:
    """What is computed by a class that is named, and the path of the class, wherever it stands in settings."""
    if isinstance(settings, Mapping):
        if "class_path" in settings:
            yield name, str(settings["class_path"])
        for key, value in settings.items():
            yield from class_paths(value, str(key) if key not in ("init_args", "network") else name)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from class_paths(value, name)
