"""Adapters of trunkline's own drivers, for the conformance suite."""
