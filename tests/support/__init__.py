"""Helpers that several test directories share: a peer that speaks raw bytes, and servers in their own process."""
