"""Pictures of a comparison: rows by flux and split, learning curves, fronts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..evaluation.report import KNOWN, MODELLED, OBSERVED, STYLE
from .frames import Frame
from .tables import shown_fluxes

LOWEST = -1.0
"""NSE below is drawn at the margin."""

COLOURS = (MODELLED, KNOWN, OBSERVED, "#7a9a01", "#8d5a97", "#d9a400", "#5b8c85", "#b0413e", "#4f6d7a", "#9c7a3c")


def comparison_figure(scores: Frame, short: Frame, lengths: Mapping[str, float], subject: Sequence[str]) -> Figure:
    """A row of panels for each split, a column for each flux, and learning curves if there are records of several lengths.

    Args:
        scores, short: of `tables.every_score` and `tables.short_table`.
        lengths: weeks of the splits that cut the record.
        subject: rows that stand out.
    """
    import matplotlib

    fluxes = shown_fluxes(short)
    curves = len(lengths) > 1
    plain = [split for split in dict.fromkeys(short["split"]) if not (curves and split in lengths)]
    rows = list(dict.fromkeys(short["row"]))
    heights = [0.9 + 0.24 * len(rows)] * len(plain) + [2.9] * curves
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.6 + 2.9 * len(fluxes), sum(heights) + 0.3), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(heights), len(fluxes), squeeze=False, height_ratios=heights)
        for line, split in zip(axes, plain, strict=False):
            for ax, flux in zip(line, fluxes, strict=True):
                _dots(ax, scores, short[short["split"] == split], flux, split, rows, subject)
                ax.set_title(f"{flux}, {split}")
                if ax is line[0]:
                    ax.set_yticks(range(len(rows)), rows)
                else:
                    ax.set_yticks(range(len(rows)), [])
        if curves:
            for ax, flux in zip(axes[-1], fluxes, strict=True):
                for i, row in enumerate(rows):
                    points = sorted(
                        (lengths[e["split"]], e[f"NSE_{flux}"]) for e in short[short["row"] == row].to_dict("records")
                        if e["split"] in lengths
                    )  # fmt: skip
                    weeks, values = np.array(points, float).reshape(-1, 2).T
                    width = 2.2 if row in subject else 1.2
                    ax.plot(
                        weeks,
                        np.maximum(values, LOWEST),
                        "o-",
                        ms=3,
                        lw=width,
                        color=COLOURS[i % len(COLOURS)],
                        label=row,
                    )
                ax.set(xscale="log", xlabel="weeks of training data", ylim=(LOWEST - 0.05, 1.0))
                ax.set_xticks(list(lengths.values()), [f"{w:g}" for w in lengths.values()], minor=False)
                ax.minorticks_off()
                ax.set_title(f"{flux}, NSE by length of the record")
            axes[-1][0].legend(fontsize=6)
    return figure


def _dots(ax, scores: Frame, short: Frame, flux: str, split: str, rows: Sequence[str], subject: Sequence[str]):
    chosen = scores[
        (scores["part"] == "test") & (scores["scale"] == "half-hour") & (scores["period"] == "all")
        & (scores["flux"] == flux) & (scores["split"] == split)
    ]  # fmt: skip
    for i, row in enumerate(rows):
        values = np.maximum(chosen.loc[chosen["row"] == row, "NSE"].to_numpy(float), LOWEST)
        values = values[np.isfinite(values)]
        mean = short.loc[short["row"] == row, f"NSE_{flux}"].to_numpy(float)
        colour = MODELLED if row in subject else OBSERVED
        ax.plot(values, np.full(len(values), i), "o", ms=4, mfc="none", mec=colour, mew=0.8)
        if len(mean) and np.isfinite(mean[0]):
            ax.plot(max(mean[0], LOWEST), i, "|", ms=13, mew=2.2, color=colour)
            text = f"{mean[0]:.2f}"
            ax.annotate(
                text, (1.0, i), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=7, color=colour
            )
    ax.axvline(0.0, color="0.8", lw=0.8, zorder=0)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="NSE")
    ax.grid(axis="y", color="0.92", lw=0.6)
    ax.margins(x=0.12)


def front_figure(points: Frame, part: str = "test") -> Figure:
    """Normalised errors of LE and NEE of all weights and seeds: a line for each row, through the means over the seeds.

    Args:
        points: of `front.points`.
        part: which part.
    """
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        for i, (row, group) in enumerate(points[points["part"] == part].groupby("row", sort=False)):
            colour = COLOURS[i % len(COLOURS)]
            mean = group.groupby("le_weight", dropna=False)[["rho_LE", "rho_NEE"]].mean()
            ax.plot(group["rho_LE"], group["rho_NEE"], "o", ms=3, mfc="none", mec=colour, alpha=0.6)
            ax.plot(mean["rho_LE"], mean["rho_NEE"], "o-", ms=5, lw=1.4, color=colour, label=str(row))
            for weight, entry in mean.iterrows():
                if weight in (0.0, 0.5, 1.0):
                    ax.annotate(f"{weight:g}", (entry["rho_LE"], entry["rho_NEE"]), fontsize=7, color=colour,
                                textcoords="offset points", xytext=(4, 3))  # fmt: skip
        ax.axhline(1.0, color="0.8", lw=0.8, zorder=0)
        ax.axvline(1.0, color="0.8", lw=0.8, zorder=0)
        ax.set(
            xlabel="error of LE, RMSE / sd of the observations", ylabel="error of NEE, RMSE / sd of the observations"
        )
        ax.set_title(f"Trade-off of LE and NEE, {part} part; numbers are weights of LE")
        ax.legend()
    return figure
