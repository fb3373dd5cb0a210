"""Autobahn|Testsuite against trunkline and its peers: `python -m compliance`, see docs/explanation/compliance.md."""
