"""What a user gets: the wheel alone, in an environment of its own, away from the repository. Run by `make test-package`.

    python tests/package/check_wheel.py                 # an environment in a temporary folder, removed at the end
    python tests/package/check_wheel.py --keep FOLDER   # kept, and used again by the next call

The wheel is built from the sdist, so a file that the sdist lacks is missed too. The commands of the README run in an empty
folder, with an empty cache and without the repository on Python's path; each prints its time, and what failed is shown.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[2]
FLUXNET = "FLX_My-Site_FLUXNET2015_SUBSET_HH_2012-2014_1-3.csv"
DAYS = 20
QUICK = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--data.max_train_rows=64", "--data.batch_size=32",
         "--data.block_days=1", "--trainer.enable_progress_bar=false"]  # fmt: skip

IMPORTS = """
import importlib, pathlib, pkgutil, sys
import canveg_jax, bridges, lightning_modules
for package in (canveg_jax, bridges, lightning_modules):
    folder = pathlib.Path(package.__file__).parent
    assert folder.is_relative_to(sys.prefix), f"{package.__name__} is imported from {folder}, not from the wheel"
    assert (folder / "py.typed").is_file(), f"{package.__name__} has no py.typed"
    modules = list(pkgutil.walk_packages(package.__path__, package.__name__ + "."))
    for module in modules:
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    print(f"{package.__name__}: {len(modules)} modules")
"""
SHIPPED_MATRICES = """
import canveg_jax as cv
for name in cv.SITES:
    for layers in (1, 50):
        cv.Canopy(cv.Site.named(name, n_layers=layers))
"""


def fluxnet_file(folder: Path) -> pd.DataFrame:
    """A FLUXNET file of the README's name from an invented tower's two files in `folder` (columns of the SUBSET)."""
    forcing = pd.read_csv(folder / "SYN-Hum-forcings.csv", parse_dates=["TIMESTAMP_END"])
    fluxes = pd.read_csv(folder / "SYN-Hum-fluxes.csv")
    end = forcing["TIMESTAMP_END"]
    saturated = 0.6108 * np.exp(17.27 * forcing["TA"] / (forcing["TA"] + 237.3))  # kPa, Tetens
    columns = {
        "TA_F": forcing["TA"], "SW_IN_F": forcing["SW_IN"], "LW_IN_F": forcing["LW_IN"],
        "VPD_F": 10 * np.maximum(0, saturated - forcing["eair"]), "PA_F": forcing["PA"], "WS_F": forcing["WS"],
        "CO2_F_MDS": forcing["CO2"], "TS_F_MDS_1": forcing["TS"], "SWC_F_MDS_1": 100 * forcing["SWC"],
        "LE_F_MDS": fluxes["LE"], "H_F_MDS": fluxes["H"], "G_F_MDS": fluxes["G"], "NEE_VUT_REF": fluxes["FC"],
    }  # fmt: skip
    flags = {f"{name}_QC": 0 for name in columns}
    stamps = {
        "TIMESTAMP_START": (end - pd.Timedelta(minutes=30)).dt.strftime("%Y%m%d%H%M"),
        "TIMESTAMP_END": end.dt.strftime("%Y%m%d%H%M"),
    }
    return pd.DataFrame(stamps | columns | {"USTAR": forcing["USTAR"], "NETRAD": fluxes["NETRAD"]} | flags)


def public_names() -> str:
    """A program that imports every name of the README's table of public names."""
    table = (ROOT / "README.md").read_text().split("## Public names")[1].split("\n\n")[1]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    names = {package.strip(" `"): re.findall(r"`(\w+)`", text) for package, text in rows}
    return "\n".join(f"from {package} import {', '.join(found)}" for package, found in names.items())


def readme_config() -> str:
    """The YAML under "Your tower, without programming"."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return next(block for block in blocks if FLUXNET in block)


def simulate_config() -> str:
    """`examples/simulate.yaml` for an invented tower."""
    config = yaml.safe_load((ROOT / "examples/simulate.yaml").read_text())
    config["tower"] = {"site": "SYN-Hum.yaml", "forcings": "SYN-Hum-forcings.csv"}
    del config["first"], config["last"]
    return yaml.safe_dump(config)


class Check:
    """Steps run with the wheel's environment in `work`; those that failed are remembered."""

    def __init__(self, environment: Path, work: Path):
        self.bin = environment / "bin"
        self.work = work
        self.failed: list[str] = []
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CANVEG_CACHE", "JAX_COMPILATION_CACHE_DIR")
        self.variables = {name: value for name, value in os.environ.items() if name not in hidden}
        self.variables |= {"CANVEG_CACHE": str(work / "cache"), "MPLBACKEND": "Agg"}

    def step(self, name: str, command: list[str], writes: tuple[str, ...] = (), says: str = "") -> None:
        """Run `command`; it must succeed, leave the files `writes`, not empty, and print `says`."""
        start = time.perf_counter()
        result = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.work,
            env=self.variables,
            capture_output=True,
            text=True,
        )
        output = result.stdout + result.stderr
        missing = [file for file in writes if not (self.work / file).is_file() or not (self.work / file).stat().st_size]
        faults = [f"exit code {result.returncode}"] if result.returncode else []
        faults += [f"{file} was not written" for file in missing]
        faults += [f"{says!r} was not printed"] if says not in output else []
        print(f"{'FAILED' if faults else 'ok':6} {time.perf_counter() - start:7.1f} s  {name}", flush=True)
        if faults:
            self.failed.append(name)
            print("       " + "; ".join(faults))
            print("\n".join("       | " + line for line in output.strip().splitlines()[-25:]), flush=True)

    def prepare(self, name: str, write: Callable[[], object]) -> None:
        """Write an input of the next step; a failure is one of the earlier step."""
        try:
            write()
        except (OSError, KeyError) as error:
            print(f"FAILED            {name}: {error}", flush=True)
            self.failed.append(name)


def install(environment: Path, wheel: Path, uv: Path) -> None:
    """The wheel, with the exact versions of constraints.txt, and the build of torch for this machine."""
    python = environment / "bin/python"
    of_uv = [uv, "pip", "install", "--quiet", "--python", python, "-c", ROOT / "constraints.txt"]
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        torch = [*of_uv, "--torch-backend=auto", "torch"]
        if subprocess.run(torch, env=os.environ | {"UV_HTTP_RETRIES": "0"}, capture_output=True).returncode:
            print("uv cannot reach PyTorch's own index; pip chooses the build of torch", flush=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "-c", ROOT / "constraints.txt", "torch"], check=True)
    subprocess.run([*of_uv, "--reinstall-package", "canveg-torch", wheel], check=True)


def run_steps(check: Check) -> None:
    """Imports and every command of the README, each on what the ones before it wrote."""
    data, run = check.work / "data", "runs/canveg/version_0"
    check.step("every module imports", ["python", "-c", IMPORTS])
    check.step("public names of the README", ["python", "-c", public_names()])
    check.step("dispersion matrices of the presets", ["python", "-c", SHIPPED_MATRICES])
    if (check.work / "cache").is_dir() and any((check.work / "cache").rglob("*.npz")):
        print("FAILED            a dispersion matrix was generated that the wheel should ship")
        check.failed.append("shipped dispersion matrices")
    check.step("canveg --help", ["canveg", "--help"], says="canveg simulate")
    check.step("canveg towers", ["canveg", "towers"], says="US-Bi1")
    check.step("canveg synthetic", ["canveg", "synthetic", "data", "--days", str(DAYS)], ("data/SYN-Hum-forcings.csv",))
    check.prepare("simulate.yaml", lambda: (check.work / "simulate.yaml").write_text(simulate_config()))
    check.step("canveg simulate", ["canveg", "simulate", "simulate.yaml", "--out", "fluxes.nc"], ("fluxes.nc",))
    check.prepare("FLUXNET file", lambda: fluxnet_file(data).to_csv(data / FLUXNET, index=False, na_rep="-9999"))
    check.prepare("my_site.yaml", lambda: (check.work / "my_site.yaml").write_text(readme_config()))
    check.step("canveg cite", ["canveg", "cite", "--config", "my_site.yaml"], says="@article")
    outputs = ("config.yaml", "metrics.csv", "checkpoints/best.ckpt", "predictions.nc", "scores.csv", "report.png")
    check.step(
        "canveg fit, the README's YAML",
        ["canveg", "fit", "--config", "my_site.yaml", *QUICK],
        tuple(f"{run}/{name}" for name in outputs),
    )
    saved = ["--config", f"{run}/config.yaml", "--ckpt_path", f"{run}/checkpoints/best.ckpt"]
    check.step(
        "canveg predict",
        ["canveg", "predict", *saved, "--output.predictions=again.nc", "--trainer.logger=false"],
        ("again.nc", "scores.csv", "report.png"),
    )
    check.step(
        "canveg report",
        ["canveg", "report", f"{run}/predictions.nc", "--out", "picture.png", "--table", "table.csv"],
        ("picture.png", "table.csv"),
        says="NSE",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the environment and the results here")
    options = parser.parse_args()
    uv = Path(sys.executable).parent / "uv"
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep.resolve() if options.keep else Path(temporary)
        subprocess.run([uv, "build", "--quiet", "--out-dir", Path(temporary) / "dist", ROOT], check=True)
        (wheel,) = (Path(temporary) / "dist").glob("*.whl")
        print(f"built {wheel.name} ({wheel.stat().st_size / 1e3:.0f} kB)", flush=True)
        install(folder / "environment", wheel, uv)
        work = Path(tempfile.mkdtemp(prefix="work-", dir=folder))
        check = Check(folder / "environment", work)
        run_steps(check)
    print(f"failed: {', '.join(check.failed)}" if check.failed else "the wheel works alone")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
