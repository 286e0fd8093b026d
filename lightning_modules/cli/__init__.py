"""The command `canveg`: `main` is its front door, `training` what fit, validate, test and predict do."""
