"""Stand-ins for what a tower does not measure: one file each, found by variable and method (docs/stand-ins.md).

One of your own: make a `StandIn` and call `register_stand_in` before `read_tower`; name it in `stand_ins`.
"""

from .base import Made as Made
from .base import Record as Record
from .base import StandIn as StandIn
from .base import StandInError as StandInError
from .registry import STAND_INS as STAND_INS
from .registry import choose as choose
from .registry import flagged as flagged
from .registry import lacking as lacking
from .registry import put_in as put_in
from .registry import register_stand_in as register_stand_in
from .root_zone import RootZone as RootZone
from .root_zone import WaterBalance as WaterBalance
