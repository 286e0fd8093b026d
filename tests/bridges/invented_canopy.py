"""A formula in place of the compiled canopies: how batches are divided can be tested without compiling anything."""

import torch

from bridges.canopy_solver import CanopySolver


class Formula:
    """In place of the compiled functions: `LE = kball * lai_scale * shortwave * stress + n_layers`, NaN where it is not finite,
    and `NEE = q10a * soil_temperature`. Takes note of the number of rows of each call."""

    def __init__(self, solver):
        self.n_layers, self.constrain, self.calls = solver.canopy.site.n_layers, solver.bridged.constrain, []

    def fluxes(self, raw, forcing, stress, site, site_arrays, start, own):
        self.calls.append(len(forcing["lai"]))
        index = 0 if site is None else site.long()
        values = {n: v if v.dim() == 0 else v[index] for n, v in self.constrain(dict(raw)).items()} | own
        scale = site_arrays["lai_scale"]
        scale, kball = scale if scale.dim() == 0 else scale[index], values["kball"]
        stress = torch.ones_like(forcing["lai"]) if stress is None else stress
        good = torch.isfinite(forcing["shortwave_in"])  # the others reach no derivative, as in the canopy
        heat = kball * scale * torch.where(good, forcing["shortwave_in"], 0.0) * stress + self.n_layers
        out = {
            "LE": torch.where(good, heat, torch.nan), "NEE": values.get("q10a", 1.0) * forcing["soil_temperature"],
            "residual": torch.zeros_like(heat), "converged": good, "passes": torch.ones_like(good, dtype=torch.int32),
            "reason": torch.where(good, 0, 1).int(),
        }  # fmt: skip
        if start is not None:
            assert start.shape[1] == 5 * self.n_layers + 1
            out["state"] = torch.where(torch.isfinite(start), start + 1.0, float(self.n_layers))
        return out


def invented(module):
    """The module with `Formula` in each of its solvers."""
    for solver in module.modules():
        if isinstance(solver, CanopySolver):
            solver.bridged = Formula(solver)
    return module
