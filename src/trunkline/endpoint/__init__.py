"""What the ends of a connection know on every driver: options, decisions, attributes. No I/O, no clock."""
