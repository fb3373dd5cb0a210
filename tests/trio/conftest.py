import importlib.util

# Without the extra `trio` there is nothing to test.
collect_ignore_glob = [] if importlib.util.find_spec("trio") else ["test_*.py"]
