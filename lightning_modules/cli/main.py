"""The command `canveg`: its commands, their help, and one-line messages for what the user can mend.

Heavy packages are imported by the command that needs them, so that help appears at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..data.splits import PARTS
from .compare import add_commands as add_comparisons
from .doctor import add_doctor
from .export import add_export
from .intervals import add_intervals
from .mistakes import explained
from .readiness import require_packages
from .sharing import add_share

TRAINING = {
    "fit": "train a hybrid canopy on tower files",
    "validate": "score a model on the validation part",
    "test": "score a model on the test part",
    "predict": "write predictions.nc, the table of scores and the picture",
}
DESCRIPTION = "CanVeg canopy physics, and hybrid models of it trained on flux towers."
EPILOG = """\
examples:
  canveg towers                                             list the site presets
  canveg doctor FILE --site site.yaml                       examine a tower's file
  canveg simulate examples/simulate.yaml --out fluxes.nc    physics alone
  canveg fit --config examples/us_bi1.yaml                  train; results in runs/
  canveg predict --config runs/us_bi1/version_0/config.yaml --ckpt_path best.ckpt
  canveg report runs/us_bi1/version_0/predictions.nc --out report.png
  canveg compare examples/compare.yaml --folder data        models side by side; table, picture, verdict
  canveg share runs/us_bi1/version_0/checkpoints/best.ckpt my-model
  canveg finetune --from my-model --free stress --config mine.yaml
  canveg export model my-model program                      for jax alone
  canveg cite --config examples/us_bi1.yaml                 BibTeX of the schemes and sites of a run
  canveg fit --help                                         all settings of data, model and trainer

environment:
  CANVEG_CACHE                folder of compiled programs and dispersion matrices (default ~/.cache/canveg)
  JAX_COMPILATION_CACHE_DIR   another folder for the compiled programs alone
  JAX_ENABLE_COMPILATION_CACHE=false   compile afresh every time
  CANVEG_THREADS              processor cores to use (default: all)
  CANVEG_TRACEBACK=1          show where an error was raised (of defects it is always shown)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0 done, 2 wrong input, 130 interrupted, 141 if nobody reads the output any more
    (`canveg towers | head -1`); `doctor` returns 1 for warnings and 2 for a record that cannot be used. What is neither
    is a defect, and raised."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = next((a for a in arguments if not a.startswith("-")), "")
    parent = os.getppid()
    use_threads()
    try:
        if command in TRAINING and arguments[0] == command:
            from .training import run_training

            return run_training(arguments)
        if command == "finetune" and arguments[0] == command:
            from .finetune import run_finetune

            return run_finetune(arguments)
        if not arguments:
            _parser().print_help(sys.stderr)
            return 2
        options = _parser().parse_args(arguments)
        code = options.run(options)
        sys.stdout.flush()  # whether anybody still reads is seen here, and not when the interpreter ends
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        return 141
    except KeyboardInterrupt as interrupt:
        if _first_process():
            print(f"canveg {command}: interrupted{interrupt}", file=sys.stderr)
        return 130
    except Exception as error:
        text = explained(error)
        if text is None or os.environ.get("CANVEG_TRACEBACK"):
            raise
        if _first_process() or not _ends(parent):
            print(f"canveg {command}: {text}\n(CANVEG_TRACEBACK=1 shows where this was raised)", file=sys.stderr)
        return 2


def _first_process() -> bool:
    """Whether this is the process that the user started, and none that it started in turn for a distributed run."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _ends(parent: int, seconds: float = 4.0) -> bool:
    """Whether the first process ends, too: then it has said the same."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if os.getppid() != parent:
            return True
        time.sleep(0.1)
    return False


def use_threads() -> None:
    """Let the numerical libraries use `$CANVEG_THREADS` cores, and PyTorch's threads sleep while they have nothing to do
    (`OMP_WAIT_POLICY`): by default they wait busily and keep the cores from JAX. Works before they are imported only.

    Raises:
        SystemExit: not a whole number of at least 1.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    threads = os.environ.get("CANVEG_THREADS")
    if threads is None:
        return
    if not threads.isdigit() or int(threads) < 1:
        raise SystemExit(f"canveg: CANVEG_THREADS must be a whole number of at least 1; got {threads!r}.")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):
        os.environ.setdefault(name, threads)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("canveg", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, text in TRAINING.items():
        commands.add_parser(name, help=text, add_help=False)
    commands.add_parser("finetune", help="train on from a trained model, and free only some parts", add_help=False)
    simulate = commands.add_parser("simulate", help="run the physics alone over a tower's record")
    simulate.add_argument("config", type=Path, metavar="CONFIG", help="YAML, see examples/simulate.yaml")
    simulate.add_argument("--out", type=Path, required=True, metavar="FILE.nc", help="NetCDF to write")
    simulate.add_argument("--folder", type=Path, help="where relative file names of the configuration start")
    simulate.set_defaults(run=_simulate)
    report = commands.add_parser("report", help="picture and table of scores of a predictions file")
    report.add_argument("predictions", type=Path, metavar="PREDICTIONS.nc", help="written by fit or predict")
    report.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="picture to write (or .pdf, .svg)")
    report.add_argument("--table", type=Path, metavar="FILE.csv", help="table of scores to write")
    report.add_argument("--part", action="append", choices=PARTS, help="part(s) shown; default test")
    report.add_argument("--site", action="append", help="site(s) shown; default all")
    report.set_defaults(run=_report)
    together = commands.add_parser("ensemble", help="mean and spread of runs that differ in their seed")
    together.add_argument("predictions", type=Path, nargs="+", metavar="PREDICTIONS.nc", help="of two runs or more")
    together.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="predictions, scores and picture go here"
    )
    together.set_defaults(run=_ensemble)
    add_intervals(commands)
    add_comparisons(commands)
    add_doctor(commands)
    add_share(commands)
    add_export(commands)
    towers = commands.add_parser("towers", help="list the site presets and their constants")
    towers.set_defaults(run=_towers)
    cite = commands.add_parser("cite", help="print BibTeX of the sources that a configuration uses")
    cite.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML of fit or of simulate")
    cite.set_defaults(run=_cite)
    synthetic = commands.add_parser("synthetic", help="write CSVs of four invented towers")
    synthetic.add_argument("folder", type=Path, metavar="FOLDER", help="made if it does not exist")
    synthetic.add_argument("--days", type=int, default=90, help="length of the record (default 90)")
    synthetic.add_argument("--seed", type=int, default=0, help="of weather, noise and gaps")
    synthetic.set_defaults(run=_synthetic)
    return parser


def _simulate(options: argparse.Namespace) -> int:
    require_packages("h5py", "h5netcdf")
    from canveg_jax.runtime import prepare_jax

    prepare_jax()
    from canveg_jax.simulation import SimulationConfig, require_folder, simulate

    out = require_folder(options.out)
    config = SimulationConfig.from_yaml(options.config)
    if options.folder is not None:
        config = config.model_copy(update={"folder": options.folder})
    with _plain_warnings():
        result = simulate(config)
    result.write(out, config)
    print(f"{result.checks}\n{result.summary()}\nwritten to {out}")
    return 0


def _report(options: argparse.Namespace) -> int:
    require_packages("h5py", "h5netcdf", "matplotlib")
    from canveg_jax.simulation import require_folder

    from ..evaluation.closure_report import beside, closure_figure, learned_something
    from ..evaluation.predictions import read_predictions
    from ..evaluation.report import report_figure, save_figure
    from ..evaluation.score_table import score_table, table_text, write_table

    out = require_folder(options.out)
    predictions = read_predictions(options.predictions)
    table = score_table(predictions)
    save_figure(report_figure(predictions, parts=options.part or ("test",), sites=options.site), out)
    if options.table is not None:
        write_table(require_folder(options.table), table)
    print(f"{table_text(table)}\npicture: {out}")
    if learned_something(predictions):
        print(f"closures: {save_figure(closure_figure(predictions, options.site), beside(out))}")
    return 0


def _ensemble(options: argparse.Namespace) -> int:
    require_packages("h5py", "h5netcdf", "matplotlib")
    from ..evaluation.ensemble import write_ensemble

    scores = write_ensemble(options.predictions, options.out)
    print(f"NSE\n{scores.to_string(float_format=lambda x: f'{x:.3f}', na_rep='')}\n\nwritten to {options.out}")
    return 0


def _towers(options: argparse.Namespace) -> int:
    del options
    from canveg_jax.site import SITES, Site

    sites = [Site.named(name) for name in SITES]
    rows = {
        "latitude": "degrees north", "longitude": "degrees east", "utc_offset": "h, standard time",
        "canopy_height": "m", "measurement_height": "m", "stomata": "", "leaf_angle": "", "n_layers": "",
        "n_air_layers": "", "soil_depth": "m", "soil_respiration": "", "soil_heat": "", "lai_scale": "factor on the file's LAI",
    }  # fmt: skip
    widths = [22, *(max(15, len(site.name) + 2) for site in sites)]
    print("".join(text.ljust(width) for text, width in zip(("", *SITES), widths, strict=True)) + "unit")
    for name, unit in rows.items():
        cells = (name, *(str(getattr(site, name)) for site in sites))
        print("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + unit)
    print("\nA configuration may change any of them (site_options), or describe its own site with these keys.")
    return 0


def _cite(options: argparse.Namespace) -> int:
    from canveg_jax.references import cite

    print(cite(options.config))
    return 0


def _synthetic(options: argparse.Namespace) -> int:
    from canveg_jax.runtime import prepare_jax

    prepare_jax()
    from canveg_jax.synthetic.canopy_towers import synthetic_towers, write_prepared_csv

    options.folder.mkdir(parents=True, exist_ok=True)
    for site, tower in synthetic_towers(days=options.days, seed=options.seed):
        paths = write_prepared_csv(options.folder, site, tower)
        print(f"{site.name}: {tower.sizes['time']} half-hours in {', '.join(path.name for path in paths)}")
    return 0


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line on the error stream, without the place in the source."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"canveg: warning: {message}", file=sys.stderr)
        yield


if __name__ == "__main__":
    sys.exit(main())
