"""How far a connection is, as numbers that compiled code compares at no cost; `State` has the same values by name."""

CONNECTING, OPEN, CLOSING, CLOSED = range(4)  # RFC 6455 sections 4.1, 7.1.3 and 7.1.4
