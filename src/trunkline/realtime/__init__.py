"""Rooms over connections: channels with presence, history and recovery."""
