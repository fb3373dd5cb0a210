"""The commands of clients, and their answers."""
