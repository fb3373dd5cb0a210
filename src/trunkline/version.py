"""The version of trunkline."""

__version__ = "0.1.0"
