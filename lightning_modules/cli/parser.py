"""The parser of training commands: a mistake in a setting is one line, with the nearest setting that there is."""

from __future__ import annotations

import re
import sys
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from canveg_jax.spelling import did_you_mean

UNKNOWN_SETTING = re.compile(r"does not accept (?:option|nested key) '([^']+)'|unrecognized arguments: --([^\s=]+)")


class TrainingParser(LightningArgumentParser):
    """As Lightning's, which prints all settings before the line that matters."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Say what is wrong, and end with code 2; parsers that try whether a value fits raise."""
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        command = parser.prog.replace(" [options]", "")
        hint = ""
        if found := UNKNOWN_SETTING.search(message):
            settings = [action.dest for action in parser._actions]
            hint = "." + did_you_mean(found[1] or found[2], settings)
        print(f"{command}: {message}{hint}\n({command} --help lists all settings)", file=sys.stderr)
        self.exit(2)
