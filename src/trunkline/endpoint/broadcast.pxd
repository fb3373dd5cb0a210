from trunkline.core.writer cimport PreparedMessage
from trunkline.endpoint.connection cimport BaseConnection
