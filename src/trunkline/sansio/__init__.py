"""The protocol without I/O, for those who bring a network layer of their own."""
