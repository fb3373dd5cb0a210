"""extensions.base: an extension that forgets a method says so."""

import pytest

from trunkline.extensions import ClientExtensionFactory, Extension, ServerExtensionFactory
from trunkline.frames import Frame, Opcode

FRAME = Frame(Opcode.TEXT, b"")


@pytest.mark.parametrize(
    "call",
    [
        lambda: Extension().decode(FRAME),
        lambda: Extension().encode(FRAME),
        lambda: ClientExtensionFactory().get_request_params(),
        lambda: ClientExtensionFactory().process_response_params([], []),
        lambda: ServerExtensionFactory().process_request_params([], []),
    ],
)
def test_methods_must_be_written(call):
    with pytest.raises(NotImplementedError):
        call()
