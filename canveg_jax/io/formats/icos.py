"""ICOS ETC level-2 CSVs as two files: METEO with the weather and the soil, FLUXES with the fluxes, u* and CO2.

The one-file product (`ICOSETC_..._FLUXNET_L2.csv`, `..._FLUXMET_...`) has the columns of ONEFlux and is read as such.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from ..opening import archive_members
from ..tower_dataset import TowerFileError, TowerTable
from .ameriflux import read_sensors
from .base import ReadOptions, TowerFormat
from .csv import CsvHeader, TowerCsv, read_header
from .fluxnet import is_filled
from .pair import CsvPair
from .sensor_names import columns_of

WEATHER, FLUXES = ("TA", "SW_IN", "PA"), ("FC", "NEE", "LE", "H")


class IcosEtc(TowerFormat):
    """The pair of METEO and FLUXES, in either order, or a zip that holds both. Columns have the names of AmeriFlux BASE."""

    name = "icos-etc"
    expects = "TIMESTAMP_START and TIMESTAMP_END, weather (TA, SW_IN) in one file and fluxes (FC, LE, H) in another"
    two_files = True

    def recognises(self, path: Path) -> bool:
        """Both stamps, no filled variables, and either fluxes alone, or weather without u*."""
        header = read_header(path)
        if header is None or not header.both_stamps or header.comments or is_filled(header):
            return False
        weather, fluxes = _holds(header, WEATHER), _holds(header, FLUXES)
        return weather != fluxes and (fluxes or not _holds(header, ("USTAR",)))

    def read(self, path: Path, options: ReadOptions) -> TowerTable:
        """Read the pair; see `TowerFormat.read`. Half-hours that only one of the files has are left out, with a warning.

        Raises:
            TowerFileError: only one of the two files is given, or their periods do not overlap.
            ValueError: the time stamps are no regular series.
        """
        first = TowerCsv(path, options.utc_offset)
        second = self._second(path, options)
        if second is None:
            has, lacks, other = (
                ("weather", "fluxes, u* and CO2", "FLUXES")
                if _holds(first.header, WEATHER)
                else ("fluxes", "weather", "METEO")
            )
            raise TowerFileError(
                f"{first.label} holds the {has} only; expected its twin with {lacks} too. Give the {other} file as "
                "`fluxes`, or use "
                "the file ..._FLUXNET_..., which holds both."
            )
        pair = CsvPair(first, second) if _holds(first.header, WEATHER) else CsvPair(second, first)
        return read_sensors(pair, options, self.name)

    def _second(self, path: Path, options: ReadOptions) -> TowerCsv | None:
        if options.fluxes is not None:
            return TowerCsv(
                options.fluxes, options.utc_offset, ("FLUXES",) if options.fluxes == path else ("FLUXES", "METEO")
            )
        in_archive = any("FLUXES" in PurePosixPath(member).name.upper() for member in archive_members(path))
        return TowerCsv(path, options.utc_offset, ("FLUXES",)) if in_archive else None


def _holds(header: CsvHeader, bases: tuple[str, ...]) -> bool:
    return any(columns_of(base, header.names) for base in bases)
