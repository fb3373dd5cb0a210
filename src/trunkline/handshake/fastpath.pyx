"""The opening handshake of an ordinary request in one pass of C, without an object for each header.

Most requests look like each other: a browser or a library writes every line as RFC 6455 asks for it. `FastPath` reads
such a request, checks it and makes the answer. It declines any other, and `ServerHandshake` says what is wrong with it.
Where the fast path gives an answer, both give the same, byte for byte; tests compare them.

The interpreted build has no fast path.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.time cimport time

from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidHandshake
from trunkline.handshake.negotiation import ServerNegotiation
from trunkline.handshake.server import http_date
from trunkline.http11 import MAX_LINE_LENGTH, MAX_NUM_HEADERS

__all__ = ["MOST_TERMS", "FastPath", "Upgrade"]

cdef extern from "fastpath.h":
    struct Value "tl_value":
        Py_ssize_t start, size
    struct OrdinaryRequest "tl_request":
        Py_ssize_t head
        Value key, origin, extensions, subprotocols
    void learn_characters "tl_learn_characters"()
    bint read_request "tl_read_request"(
        const char* text, Py_ssize_t size, Py_ssize_t longest, int most, OrdinaryRequest* request)
    void make_accept "tl_accept_key"(const char* text, Py_ssize_t start, char* accept)

learn_characters()

MOST_TERMS = 256  # kept for requests to come; clients that send ever new origins must not fill the memory
OFFERS = ("Origin", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol")

cdef Py_ssize_t LONGEST_LINE = MAX_LINE_LENGTH
cdef int MOST_HEADERS = MAX_NUM_HEADERS
cdef bytes START = b"HTTP/1.1 101 Switching Protocols\r\nDate: "
cdef bytes MIDDLE = b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "


cdef class Terms:
    """An agreement of a server about one combination of offers; `lines` are the lines of the answer about it."""

    cdef object subprotocol
    cdef tuple extensions
    cdef bytes lines

    def __init__(self, subprotocol, extensions, lines):
        self.subprotocol = subprotocol
        self.extensions = extensions
        self.lines = lines


cdef class Upgrade:
    """A request that was accepted.

    Attributes:
        head: the bytes of the request.
        response: the answer, as it goes on the wire.
        remaining: what followed the request. It belongs to the session.
        subprotocol: the subprotocol agreed on, or None.
        extensions: the extensions agreed on, in order.
    """

    cdef readonly bytes head, response, remaining
    cdef readonly object subprotocol
    cdef readonly list extensions


cdef class FastPath:
    """Answers ordinary requests; one for each server.

    Args:
        headers: headers that the server adds to each answer.
        rules: arguments of `ServerNegotiation`. Each extension that a factory makes must have a method `another()`,
            which makes one with the same parameters. The answer of the factory must depend on the offer alone.
    """

    cdef dict rules, terms
    cdef bytes tail, date
    cdef long second
    cdef bint any_origin, no_extensions

    def __init__(self, headers, **rules):
        self.rules = rules
        self.terms = {}
        self.tail = headers.serialize()
        self.any_origin = rules.get("origins") is None
        self.no_extensions = not rules.get("extensions")
        self.second = 0
        self.date = b""

    def __len__(self):
        """How many combinations of offers it remembers, `MOST_TERMS` at most."""
        return len(self.terms)

    def __bool__(self):
        return True

    cpdef Upgrade answer(self, bytes data):
        """Accept a request, or return None: it isn't an ordinary one, it isn't whole, or it must be refused."""
        cdef OrdinaryRequest request
        cdef char accept[28]
        cdef const char* text = PyBytes_AS_STRING(data)
        if not read_request(text, PyBytes_GET_SIZE(data), LONGEST_LINE, MOST_HEADERS, &request):
            return None
        cdef Terms terms = self.terms_for((
            b"" if self.any_origin else value_of(text, request.origin),
            b"" if self.no_extensions else value_of(text, request.extensions),
            value_of(text, request.subprotocols),
        ))
        if terms is None:
            return None
        make_accept(text, request.key.start, accept)
        cdef Upgrade upgrade = Upgrade.__new__(Upgrade)
        upgrade.head = data[: request.head]
        upgrade.remaining = data[request.head :]
        upgrade.response = b"".join(
            (START, self.date_now(), MIDDLE, PyBytes_FromStringAndSize(accept, 28), terms.lines, self.tail))
        upgrade.subprotocol = terms.subprotocol
        upgrade.extensions = [extension.another() for extension in terms.extensions]
        return upgrade

    cdef Terms terms_for(self, tuple offers):
        """The terms for what a client offers; an empty value stands for a header that isn't there."""
        if offers not in self.terms:
            if len(self.terms) >= MOST_TERMS:
                self.terms.clear()
            self.terms[offers] = self.negotiate(offers)
        return self.terms[offers]

    cdef Terms negotiate(self, tuple offers):
        """The terms, or None if the request must be refused: `ServerHandshake` does so, and says why."""
        offered, answer = Headers(), Headers()
        for name, value in zip(OFFERS, offers):
            if value:
                offered.set_insecure(name, value.decode("ascii"))
        negotiation = ServerNegotiation(**self.rules)
        try:
            negotiation.negotiate(offered, answer)
        except InvalidHandshake:
            return None
        lines = "".join([f"\r\n{name}: {value}" for name, value in answer.raw_items()]) + "\r\n"
        return Terms(negotiation.subprotocol, tuple(negotiation.extensions), lines.encode("ascii"))

    cdef bytes date_now(self):
        """Value of the Date header (RFC 9110 section 6.6.1), made once a second."""
        cdef long second = time(NULL)
        if second != self.second:
            self.date = http_date(second).encode("ascii")
            self.second = second
        return self.date


cdef bytes value_of(const char* text, Value value):
    return PyBytes_FromStringAndSize(text + value.start, value.size)
