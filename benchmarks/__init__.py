"""Every peer beside trunkline, in one session on one machine: `python -m benchmarks`."""
