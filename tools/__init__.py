"""Checks of this repository, for `make lint` and for reviews."""
