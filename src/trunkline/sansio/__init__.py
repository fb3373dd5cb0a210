"""The protocol without I/O, for programs that bring a network layer of their own."""
