from trunkline.core.opcodes import BINARY as BINARY
from trunkline.core.opcodes import CLOSE as CLOSE
from trunkline.core.opcodes import CONTINUATION as CONTINUATION
from trunkline.core.opcodes import FIRST_CONTROL as FIRST_CONTROL
from trunkline.core.opcodes import PING as PING
from trunkline.core.opcodes import PONG as PONG
from trunkline.core.opcodes import TEXT as TEXT
