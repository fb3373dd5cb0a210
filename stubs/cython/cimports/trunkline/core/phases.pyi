from trunkline.core.phases import CLOSED as CLOSED
from trunkline.core.phases import CLOSING as CLOSING
from trunkline.core.phases import CONNECTING as CONNECTING
from trunkline.core.phases import OPEN as OPEN
