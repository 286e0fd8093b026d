"""Tower data for Lightning: reading, splitting by blocks of time, scaling statistics, loaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import lightning as L
import numpy as np
import torch
import xarray as xr
from lightning.pytorch.utilities import rank_zero_info

from canveg_jax import Site
from canveg_jax.io.antecedents import with_antecedents
from canveg_jax.io.doctor import examine, require_usable, short_text
from canveg_jax.io.tower_files import TowerFiles, as_site

from ..processes import processes
from .dataset import TowerDataset
from .held_out import HeldOut, joined
from .loader import TowerLoader, tower_loader
from .order import HalfHourOrder, largest_share
from .rain import masked_while_wet, with_wet
from .splits import PARTS, Part
from .statistics import ScalingStatistics
from .targets import DEFAULT_TARGETS, check_targets


class FluxTowerDataModule(L.LightningDataModule):
    """Half-hours of one or more towers, split by blocks of time, never at random.

    Per tower, the test part is its test record (`test_forcings`), else the last `test_fraction` of the record; every
    `val_every`-th block of `block_days` of the rest is validation. Scaling statistics come from the training part
    alone.

    Example:
        >>> FluxTowerDataModule(towers=[TowerFiles("US-Bi1", "forcings.csv", "fluxes.csv")], dtype="float32")
        ... # doctest: +SKIP

    Args:
        towers: files of each tower (for configurations).
        datasets: instead of files: `(site, dataset)` or `(site, dataset, test dataset)` of each tower, datasets as
            `canveg_jax.io.read_tower` makes them.
        folder: relative file names of `towers` start here; default: the current folder.
        site_options: changes of site constants for all towers, for example `{n_layers: 1}`.
        targets: observed fluxes to carry and score.
        batch_size: half-hours per batch. Several processes share each training batch (`HalfHourOrder`): training is the
            same, whatever their number.
        block_days, val_every, test_fraction, purge_days: see `splits.block_split`.
        held_out: another test part than that of the end of the record: `hot`, `dry_year`, or a mapping such as
            `{kind: dry_air, share: 0.1}`; see `held_out.HeldOut`.
        mask_rain: leave the turbulent fluxes out of training and validation while it rains and for so many hours after; None: use
            them. The test part keeps them, and is scored apart (`wet`, `dry`). Needs a file with precipitation.
        train_stride: use every n-th half-hour of the training part (statistics included), for speed. Prefer odd
            numbers: an even one visits the same times of day only.
        max_train_rows: use at most so many training half-hours, evenly spread over the part.
        predict_part: what `predict` runs over: one part, or `all` parts in the order train, val, test.
        num_workers: worker processes of each loader. Data are in memory, so 0 is usually fastest.
        dtype: precision of forcing, targets, and so of the computation.
        seed: of the shuffling of the training part, together with the epoch; None: that of torch's global generator, which
            `seed_everything` sets.

    Attributes (after `setup`):
        statistics: `ScalingStatistics` of the training part.
        parts: `{"train": TowerDataset, "val": ..., "test": ...}`; a part without half-hours is missing.

    Raises:
        ValueError: settings that contradict each other, or a part that is asked for and empty; the message has the
            remedy.
    """

    statistics: ScalingStatistics

    def __init__(
        self,
        towers: list[TowerFiles] | None = None,
        datasets: Sequence[tuple[Any, ...]] | None = None,
        *,
        folder: str | None = None,
        site_options: dict[str, Any] | None = None,
        targets: list[str] = list(DEFAULT_TARGETS),  # noqa: B006 - copied below, a list for the command line
        batch_size: int = 1024,
        block_days: float = 7.0,
        val_every: int = 5,
        test_fraction: float = 0.0,
        purge_days: float = 0.0,
        held_out: str | dict[str, Any] | None = None,
        mask_rain: float | None = None,
        train_stride: int = 1,
        max_train_rows: int | None = None,
        predict_part: Part | Literal["all"] = "test",
        num_workers: int = 0,
        dtype: Literal["float64", "float32"] = "float64",
        seed: int | None = None,
    ):
        super().__init__()
        if bool(towers) == bool(datasets):
            raise ValueError("give either `towers` (files) or `datasets` (in memory), and at least one of them.")
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("train_stride", train_stride, 1),
            ("num_workers", num_workers, 0),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}; got {value!r}.")
        if max_train_rows is not None and max_train_rows < 2:
            raise ValueError(f"max_train_rows must be at least 2, or null for all; got {max_train_rows!r}.")
        if mask_rain is not None and not 0 <= mask_rain < 1e6:
            raise ValueError(f"mask_rain must be a number of hours, not negative, or null; got {mask_rain!r}.")
        if dtype not in ("float64", "float32"):
            raise ValueError(f"dtype must be 'float64' or 'float32'; got {dtype!r}.")
        if predict_part not in (*PARTS, "all"):
            raise ValueError(f"predict_part must be one of {', '.join(PARTS)}, all; got {predict_part!r}.")
        options = dict(site_options or {})
        self.towers, self.datasets = [t.inside(folder) for t in towers or ()], list(datasets or ())
        self.sites: list[Site] = [t.build_site(options) for t in self.towers] or [
            as_site(entry[0], options) for entry in self.datasets
        ]
        _require_different_names(self.sites)
        self.targets = check_targets(targets)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.split_options = {
            "block_days": block_days, "val_every": val_every, "test_fraction": test_fraction, "purge_days": purge_days,
        }  # fmt: skip
        self.held_out = HeldOut.read(held_out)
        names = [site.name for site in self.sites]
        if missing := [name for name in self.held_out.towers if name not in names]:
            raise ValueError(f"held_out: there is no tower {', '.join(missing)}; there are {', '.join(names)}.")
        if set(names) <= set(self.held_out.towers):
            raise ValueError(
                "held_out: all towers are held out, so none is left to train on. Leave one out of `towers`."
            )
        self.mask_rain = mask_rain
        self.train_stride, self.max_train_rows, self.predict_part = train_stride, max_train_rows, predict_part
        self.dtype = getattr(torch, dtype)
        self._seed_used: int | None = None
        self._seed_of_run: int | None = None
        self.parts: dict[str, TowerDataset] = {}
        self.records: dict[str, list[xr.Dataset]] = {}

    def prepare_data(self) -> None:
        """Nothing to download."""

    def setup(self, stage: str | None = None) -> None:
        """Read, split, and compute the statistics (once; later stages find them)."""
        del stage
        if not self.parts:
            self._read_and_split()
        if "val" not in self.parts and self.trainer is not None:
            self.trainer.limit_val_batches = (
                0  # Lightning's only way not to validate; it warns of a loader without batches
            )

    def _read_and_split(self) -> None:
        pairs = (
            [t.read(site) for t, site in zip(self.towers, self.sites, strict=True)]
            if self.towers
            else [(entry[1], entry[2] if len(entry) > 2 else None) for entry in self.datasets]
        )
        for (record, _), site in zip(pairs, self.sites, strict=True):
            examination = examine(record, site)
            rank_zero_info(short_text(examination))
            require_usable(examination)
        if self.held_out.joins_records:
            pairs = [(record if test is None else joined(record, test), None) for record, test in pairs]
        splits = [
            self.held_out.split(record, site=site.name, has_test_record=test is not None, **self.split_options)
            for (record, test), site in zip(pairs, self.sites, strict=True)
        ]
        pairs = [_with_past(record, test) for record, test in pairs]
        if self.mask_rain is not None:
            pairs = [
                (with_wet(record, self.mask_rain), test if test is None else with_wet(test, self.mask_rain))
                for record, test in pairs
            ]
        records, tests = [p[0] for p in pairs], [p[1] for p in pairs]
        test_records = [record if test is None else test for record, test in zip(records, tests, strict=True)]
        test_rows = [
            split.test if test is None else np.arange(test.sizes["time"])
            for split, test in zip(splits, tests, strict=True)
        ]
        dry = [masked_while_wet(record) for record in records]
        self.records = {"train": dry, "val": dry, "test": test_records}
        rows = {"train": self._thinned([s.train for s in splits]), "val": [s.val for s in splits], "test": test_rows}
        for name in PARTS:
            if any(len(r) for r in rows[name]):
                self.parts[name] = TowerDataset(self.records[name], self.targets, dtype=self.dtype, rows=rows[name])
        if not any(self.parts["train"].measured_counts().values()):
            raise ValueError(
                f"the training part has no measured sample of {', '.join(self.targets)}. Check that the flux file "
                "belongs to the forcing and that its columns are recognised."
            )
        self.statistics = ScalingStatistics.of(self.parts["train"], self.sites)
        rank_zero_info(self.summary())

    def _thinned(self, rows: list[np.ndarray]) -> list[np.ndarray]:
        rows = [r[:: self.train_stride] for r in rows]
        total = sum(len(r) for r in rows)
        if self.max_train_rows is None or total <= self.max_train_rows:
            return rows
        wanted = [min(len(r), max(1, int(len(r) * self.max_train_rows / total))) for r in rows]
        return [r[np.linspace(0, len(r) - 1, n).round().astype(int)] for r, n in zip(rows, wanted, strict=True)]

    @property
    def closure_corrected(self) -> bool:
        """Whether the turbulent fluxes were corrected for the closure of the energy balance (`LE_CORR`, `H_CORR`)."""
        sources = [
            str(record[name].attrs.get("source_column", ""))
            for record in self.records.get("train", [])
            for name in ("latent_heat", "sensible_heat")
            if name in record
        ]
        return any("_CORR" in source for source in sources)

    def summary(self) -> str:
        """Half-hours and measured samples of each part, in words."""
        lines = []
        for name, part in self.parts.items():
            measured = ", ".join(f"{target} {n}" for target, n in part.measured_counts().items())
            left_out = f" ({sum(part.incomplete)} left out: forcing incomplete)" if sum(part.incomplete) else ""
            lines.append(f"{name}: {len(part)} half-hours{left_out}; measured: {measured}")
        return "\n".join(lines)

    def carry_days(self, days: int) -> None:
        """Let the batches of all parts carry the daily weather of so many days before each half-hour; for models that ask."""
        for part in self.parts.values():
            part.daily_days = max(part.daily_days, days)

    def largest_batch(self) -> int:
        """Number of half-hours of the largest batch of any loader; known after `setup`."""
        return min(self.batch_size, max(len(part) for part in self.parts.values()))

    def largest_training_batch(self) -> int:
        """Number of half-hours of the largest training batch of this process; known after `setup`."""
        if processes().size == 1:
            return self.largest_batch()  # one size for all batches
        return largest_share(min(self.batch_size, len(self.parts["train"])))

    def train_dataloader(self) -> TowerLoader:
        """Shuffled half-hours of the training part; Lightning says which epoch it is."""
        loader = self._loader("train", shuffle=True)
        self._seed_used = cast(HalfHourOrder, loader.sampler).seed
        return loader

    def state_dict(self) -> dict[str, Any]:
        """The seed of the shuffling: where it comes from torch's generator, a resumed process may have drawn another."""
        return {} if self._seed_used is None else {"seed": self._seed_used}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Shuffle as the run did that is resumed."""
        self._seed_of_run = state_dict.get("seed")

    def val_dataloader(self) -> TowerLoader | list:
        """Validation part in time order; without one (`val_every` 0) nothing, and the trainer does not validate."""
        return self._loader("val") if "val" in self.parts else []

    def test_dataloader(self) -> TowerLoader:
        """Test part in time order."""
        return self._loader("test")

    def predict_dataloader(self) -> TowerLoader | list[TowerLoader]:
        """The part(s) named by `predict_part`, in time order; `predict_parts` lists them."""
        if self.predict_part != "all":
            return self._loader(self.predict_part)
        return [self._loader(name) for name in self.predict_parts]

    @property
    def predict_parts(self) -> list[str]:
        """Names of the parts that `predict` runs over, one per predict loader; `records[part]` are their datasets."""
        return [name for name in PARTS if name in self.parts] if self.predict_part == "all" else [self.predict_part]

    def _loader(self, name: str, shuffle: bool = False) -> TowerLoader:
        if name not in self.parts:
            raise ValueError(
                f"there is no {name} part. Give "
                + {"test": "test_forcings and test_fluxes, or test_fraction > 0.", "val": "val_every > 1."}.get(
                    name, "data."
                )
            )
        return self.loader_of(self.parts[name], shuffle=shuffle)

    def loader_of(self, part: TowerDataset, shuffle: bool = False) -> TowerLoader:
        """A loader of half-hours, with the settings of this module."""
        seed = self._seed_of_run if self.seed is None else self.seed
        return tower_loader(part, self.batch_size, shuffle=shuffle, num_workers=self.num_workers, seed=seed)


def _with_past(record: xr.Dataset, test: xr.Dataset | None) -> tuple[xr.Dataset, xr.Dataset | None]:
    """The records of a tower with columns of their past; a test record that follows the other knows it."""
    if test is None:
        return with_antecedents([record])[0], None
    record, test = with_antecedents([record, test])
    return record, test


def _require_different_names(sites: Sequence[Site]) -> None:
    names = [site.name for site in sites]
    if len(set(names)) != len(names):
        raise ValueError(f"towers must have different names; got {', '.join(names)}. Set `name` in site_options.")
