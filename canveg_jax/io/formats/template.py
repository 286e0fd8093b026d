"""Start of a format of your own: copy this file, follow the numbers, register an instance.

    from canveg_jax.io.formats import register
    register(Template())

As it stands it reads CSVs with a column `time` (start of the interval, local standard time) and the columns below. It is not
registered by itself. A format that belongs into the package is registered in `formats/__init__.py` and has its test in
`tests/io/formats/`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..lai import leaf_area_index
from ..timestamps import check_step
from ..tower_dataset import Column, Target, TowerFileError, TowerTable
from .base import ReadOptions, TowerFormat

# 1. What each variable is called in your files, and the factor that brings it to the unit of `FORCING_TABLE`.
DRIVERS: dict[str, tuple[str, float]] = {
    "air_temperature": ("air_temperature_degC", 1.0),
    "shortwave_in": ("shortwave_W_m2", 1.0),
    "vapour_pressure": ("vapour_pressure_hPa", 0.1),
    "wind_speed": ("wind_m_s", 1.0),
    "co2": ("co2_ppm", 1.0),
    "pressure": ("pressure_hPa", 0.1),
    "friction_velocity": ("ustar_m_s", 1.0),
    "soil_temperature": ("soil_temperature_degC", 1.0),
    "soil_water_content": ("soil_water_percent", 0.01),
}
OPTIONAL = ("co2",)

# 2. The same for observed fluxes (`TARGET_TABLE`: units, and which sign means up). They may all be absent.
TARGETS: dict[str, tuple[str, float]] = {"latent_heat": ("latent_heat_W_m2", 1.0), "nee": ("nee_umol_m2_s", 1.0)}

# 3. Where your files say whether a value was measured: here a column of flags for each flux, 0 = measured.
FLAG = "{column}_flag"


class Template(TowerFormat):
    """Say here what the files are, and where their format is described."""

    # 4. A name of its own, and what the files are recognised by, in words.
    name = "template"
    expects = "columns time and air_temperature_degC"

    def recognises(self, path: Path) -> bool:
        """5. Decide by the beginning of the file, not by its name. Any file may come: do not raise."""
        return {"time", DRIVERS["air_temperature"][0]} <= set(_names(path))

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read one file; see `TowerFormat.read`.

        Raises:
            TowerFileError: a driver or LAI is missing, or a chosen column does not exist.
            ValueError: the time stamps are no regular series.
        """
        # 6. Choose all columns by name: the user's choice first. A column the model cannot do without is an error that
        #    says what was expected and what to do.
        names = _names(path)
        drivers = _chosen(DRIVERS, options, names)
        targets = _chosen(TARGETS, options, names)
        for name, (column, _) in DRIVERS.items():
            if name not in drivers and name not in OPTIONAL:
                raise TowerFileError(
                    f"{path.name}: no column for {name}; looked for {column}. Give columns={{'{name}': '<column>'}}."
                )
        lai = options.columns.get("lai") if options.lai is None else options.lai

        # 7. Read the file once. Missing values become NaN. (Another kind of file: `xarray.open_dataset(path)`, ...)
        frame = pd.read_csv(path, na_values=["-9999"])

        # 8. Time: the start of every interval, and the step. `check_step` refuses gaps, duplicates and daily files.
        start = pd.DatetimeIndex(pd.to_datetime(frame["time"]))
        step = check_step(start, path.name)

        # 9. Compute: units and signs, masks of measured samples. Nothing is interpolated or clipped.
        forcing = {
            name: Column(values=frame[column].to_numpy(float) * DRIVERS[name][1], source=column)
            for name, column in drivers.items()
        }
        if "co2" not in forcing and options.co2 is not None:
            forcing["co2"] = Column(values=np.full(len(start), float(options.co2)), source=f"constant {options.co2:g}")
        forcing["lai"] = leaf_area_index(
            Column(values=frame[lai].to_numpy(float), source=lai) if isinstance(lai, str) else lai,
            f"{path.name} ({self.name})", start, step,
        )  # fmt: skip
        observed = {}
        warnings = []
        for name, column in targets.items():
            values, flag = frame[column].to_numpy(float) * TARGETS[name][1], FLAG.format(column=column)
            measured = np.isfinite(values)
            if flag in names:
                measured &= frame[flag].to_numpy(float) == 0
            else:
                # 10. What limits the use of the data is a warning, not an error. `read_tower` emits it.
                warnings.append(f"{path.name}: '{column}' has no flags; all of its samples count as measured.")
            observed[name] = Target(values=values, measured=measured, source=column)
        return TowerTable(start=start, step=step, forcing=forcing, targets=observed, warnings=warnings)


def _names(path: Path) -> list[str]:
    """The column names; none if the file is not text."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        return [name.strip() for name in lines.readline(100_000).split(",")]


def _chosen(table: dict[str, tuple[str, float]], options: ReadOptions, names: list[str]) -> dict[str, str]:
    """The column of each variable that the file has; a chosen column must exist."""
    for column in options.columns.values():
        if column not in names:
            raise TowerFileError(f"there is no column '{column}'; the file has {', '.join(names)}.")
    columns = {name: options.columns.get(name, column) for name, (column, _) in table.items()}
    return {name: column for name, column in columns.items() if column in names}
