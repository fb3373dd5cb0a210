"""kernels.pxd: the names of the interpreted twin, and what only compiled code calls."""

from trunkline.core.kernels import at as at
from trunkline.core.kernels import frame as frame
from trunkline.core.kernels import header as header
from trunkline.core.kernels import key_at as key_at
from trunkline.core.kernels import last as last
from trunkline.core.kernels import memory as memory
from trunkline.core.kernels import payload_done as payload_done
from trunkline.core.kernels import payload_fill as payload_fill
from trunkline.core.kernels import payload_grow as payload_grow
from trunkline.core.kernels import payload_new as payload_new
from trunkline.core.kernels import payload_slice as payload_slice
from trunkline.core.kernels import take_binary as take_binary
from trunkline.core.kernels import take_text as take_text

def payload_at(payload: bytearray, offset: int) -> memoryview: ...
def payload_unmask(payload: bytearray, filled: int, n: int, key: int) -> bool: ...
