"""Opcodes of frames (RFC 6455 section 5.2), as numbers; `Opcode` has the same values by name."""

CONTINUATION, TEXT, BINARY = range(3)
CLOSE, PING, PONG = range(8, 11)

FIRST_CONTROL = CLOSE  # this opcode and all above it are those of control frames (section 5.5)
