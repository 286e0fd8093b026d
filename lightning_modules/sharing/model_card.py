"""The card of a shared model: what it is, what it was trained on, how well it does, and what it is not for. Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..data.inputs import LARGEST_DEVIATION, NETWORK_INPUTS
from .stored_model import STATISTICS, StoredModel, versions

NOT_FOR = (
    "towers or periods whose inputs lie outside of the ranges above: networks answer there as at their edge. `canveg finetune` "
    "says how often that is, and adapts the model to a tower of yours.",
    "another kind of canopy (leaf angle, stomata, height, C4 plants) than those of its towers.",
    "filling gaps of the fluxes that it was scored on: these scores are of unseen half-hours of the same towers, not of yours.",
    "causal statements about what its networks learned: they take up whatever else is wrong in physics and data.",
)
"""What no shared model must be used for without a look at it."""


def model_card(stored: StoredModel, described: Mapping[str, Sequence[str]], licence: str | None = None) -> str:
    """The text of the README.

    Args:
        stored: settings, statistics and run of the model.
        described: what the model says of itself, lines by heading.
        licence: under which others may use it.
    """
    run = stored.run or {}
    kind = "hybrid of canopy physics and networks" if stored.kind == "HybridCanopy" else "network without physics"
    sections: dict[str, Sequence[str]] = {
        "Data": _data(run), "Split": _split(run), "Scores": _scores(run), **described,
        "Intended range": _ranges(stored.statistics),
        "Not for": [f"- {text}" for text in _not_for(run)],
        "Use": _use(stored.kind),
        "Versions": [", ".join(f"{name} {number}" for name, number in versions().items())],
        "Licence": [licence or "Not stated. Ask whoever gave you this folder; the data of towers have licences of their own."],
    }  # fmt: skip
    names = ", ".join(tower["name"] for tower in run.get("towers", [])) or _sites(stored.settings)
    head = [f"# {stored.kind} of {names}" if names else f"# {stored.kind}", "", f"A {kind}, trained with canveg-torch. This "
            "card was written from the run; the numbers are those of the files beside it."]  # fmt: skip
    for title, lines in sections.items():
        head += ["", f"## {title}", "", *lines]
    return "\n".join(head) + "\n"


def _sites(settings: Mapping[str, Any]) -> str:
    return ", ".join(site["name"] for site in settings.get("sites", []) if isinstance(site, Mapping))


def _data(run: Mapping[str, Any]) -> list[str]:
    towers = run.get("towers")
    if not towers:
        return ["Not recorded: the model was saved without its run. `canveg share` takes it from the run's folder."]
    rows: list[Sequence[str]] = [("tower", "first half-hour", "last half-hour", "train", "val", "test", "source")]
    for tower in towers:
        count = tower["half_hours"]
        doi = f"doi:{tower['doi']}" if tower.get("doi") else "invented" if tower.get("invented") else "DOI not known"
        rows.append((
            tower["name"], tower["first"], tower["last"], *(str(count.get(part, 0)) for part in ("train", "val", "test")), doi,
        ))  # fmt: skip
    hashes = (
        [f"SHA-256 of its files: {', '.join(digest[:12] for digest in run['data_sha256'])}."]
        if run.get("data_sha256")
        else []
    )
    lines = [*_table(rows), *([""] if hashes else []), *hashes]
    if begun := run.get("started_from"):
        before = (
            ", ".join(tower["name"] for tower in (begun.get("run") or {}).get("towers", []))
            or "towers that are not recorded"
        )
        lines += [
            "",
            f"Finetuned: before, it was trained on {before}; then these parts were free: {', '.join(begun['free'])}.",
        ]
    return lines


def _split(run: Mapping[str, Any]) -> list[str]:
    settings = {name: value for name, value in run.get("split", {}).items() if value is not None}
    text = "Blocks of time, never at random; scaling and weights are of the training part alone."
    return [text] + ([f"`{name}: {value}`" + "  " for name, value in settings.items()] if settings else [])


def _scores(run: Mapping[str, Any]) -> list[str]:
    scores = run.get("scores")
    if not scores:
        return ["Not recorded."]
    parts = {row["part"] for row in scores}
    part = next(name for name in ("test", "val", "train") if name in parts)
    rows: list[Sequence[str]] = [("site", "flux", "half-hours", "NSE", "RMSE", "bias", "r")]
    for row in scores:
        if row["part"] == part:
            numbers = (_number(row.get(name)) for name in ("NSE", "RMSE", "bias", "r"))
            rows.append((row["site"], row["flux"], str(row["n"]), *numbers))
    unseen = "unseen in training" if part == "test" else "NOT unseen: there was no test part"
    beyond = [run["inputs_beyond_training"]] if run.get("inputs_beyond_training") else []
    text = (
        f"Of the {part} part ({unseen}), measured half-hours that converged. RMSE and bias (modelled - observed) in the unit of "
        "the flux."
    )
    return [text, "", *_table(rows), *([""] if beyond else []), *beyond]


def _ranges(statistics: Mapping[str, Any] | None) -> list[str]:
    if not statistics:
        return [
            f"Not kept by the checkpoint ({STATISTICS}); the networks' own means and standard deviations are in the weights."
        ]
    rows: list[Sequence[str]] = [("input", "unit", "mean", "standard deviation", "from", "to")]
    for name, entry in statistics["inputs"].items():
        if name in NETWORK_INPUTS:
            mean, sd = entry["mean"], entry["sd"]
            limits = (_number(mean + sign * LARGEST_DEVIATION * sd) for sign in (-1.0, 1.0))
            rows.append((name, NETWORK_INPUTS[name].unit, _number(mean), _number(sd), *limits))
    text = (
        f"Mean and standard deviation of the training part; beyond {LARGEST_DEVIATION:g} standard deviations (from, to) an input "
        "counts as just that far."
    )
    return [text, "", *_table(rows)]


def _not_for(run: Mapping[str, Any]) -> list[str]:
    invented = [tower["name"] for tower in run.get("towers", []) if tower.get("invented")]
    extra = ["any statement about nature: its towers are invented."] if invented else []
    return [*extra, *NOT_FOR]


def _use(kind: str) -> list[str]:
    lines = [
        "```python",
        f"from lightning_modules import {kind}",
        "",
        f'model = {kind}.from_pretrained("THIS FOLDER")',
        "```",
    ]
    if kind == "HybridCanopy":
        lines += [
            "",
            "`canveg finetune --from FOLDER --config mine.yaml --free stress` adapts it to another tower; `canveg export model "
            "FOLDER DIR` makes a program that needs jax alone.",
        ]
    return lines


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]


def _number(value: Any) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4g}"
