"""The common part of all drivers: options, decisions, attributes. No I/O, no clock."""
