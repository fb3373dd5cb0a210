"""The program's part in rooms: it declares channels, registers functions, and says who clients are."""
