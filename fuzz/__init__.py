"""Random input for the two builds of the core, which must not differ, and for the readers of HTTP heads.

    python -m fuzz --seconds 60

`twins` loads the interpreted core beside the compiled one; `sessions` and `heads` are the targets.
"""
