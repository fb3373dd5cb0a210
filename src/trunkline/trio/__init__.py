"""The trio driver: `client`, `server`, `router`, and the `connection` they share; `pip install 'trunkline[trio]'`."""

try:
    import trio as trio
except ImportError as error:
    raise ImportError("trunkline.trio needs trio: pip install 'trunkline[trio]'") from error
