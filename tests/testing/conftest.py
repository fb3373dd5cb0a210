import pytest

pytest.register_assert_rewrite("trunkline.testing")
