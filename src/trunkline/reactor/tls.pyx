"""TLS on the reactor: OpenSSL, as the ssl module of Python has it, between the socket and the connection.

A transport owns an `ssl.SSLObject` and its two memory BIOs. Received bytes go into one of them, and OpenSSL
decrypts them straight into the memory where messages are parsed. Messages that are sent together go through OpenSSL together and
leave in one system call. Between two batches a BIO holds less than a record, so an idle connection costs what OpenSSL
needs and little more.

`SSLObject.read` and `write` are Python methods around those of an object in C. We call the latter, which saves a microsecond a
message; for subclasses (`SSLContext.sslobject_class`) we call the methods of the subclass.

The end (RFC 8446 section 6.1): `close()` sends the waiting bytes and close_notify. Then it waits until the peer has done the
same or has closed TCP. A socket that is closed with bytes unread resets the connection, and the last messages may be lost. A
peer that leaves without close_notify has just left: whether messages are missing is known from the closing handshake of
WebSocket. Renegotiation, which TLS 1.3 no longer has, ends a connection.
"""

import asyncio
import ssl
from sys import maxsize

from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, EINTR, errno

from trunkline.core.reader cimport Reader
from trunkline.endpoint.life cimport Life
from trunkline.reactor.epoll cimport RECEIVE_BUFFER
from trunkline.reactor.sockets cimport Listener, take_over
from trunkline.reactor.system cimport c_recv, os_error
from trunkline.reactor.transport cimport DIRECT, Transport

from trunkline.reactor import sockets

cdef enum:
    RECORD = 16384  # bytes of plain text in a record, at most (RFC 8446 section 5.1)
    RECEIVE = RECORD + 512  # a record with all that surrounds it
    RECEIVES = 16  # in one turn of the loop
    TOGETHER = 4 * RECORD  # up to so much is copied together before it is encrypted

HANDSHAKE_TIMEOUT, SHUTDOWN_TIMEOUT = 60.0, 30.0  # seconds, as in asyncio


cdef class Settings:
    """What `ssl`, `server_hostname`, `ssl_handshake_timeout` and `ssl_shutdown_timeout` say."""

    cdef readonly object context, server_hostname
    cdef readonly bint server_side
    cdef readonly double handshake_timeout, shutdown_timeout

    def __init__(self, context, *, server_side, server_hostname=None, handshake_timeout=None, shutdown_timeout=None):
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"ssl is {context!r}: it must be an ssl.SSLContext")
        self.context = context
        self.server_side = server_side
        self.server_hostname = server_hostname
        self.handshake_timeout = positive("ssl_handshake_timeout", handshake_timeout, HANDSHAKE_TIMEOUT)
        self.shutdown_timeout = positive("ssl_shutdown_timeout", shutdown_timeout, SHUTDOWN_TIMEOUT)


cdef double positive(name, seconds, double default) except -1:
    if seconds is None:
        return default
    if seconds <= 0:
        raise ValueError(f"{name} is {seconds!r}: it must be more than 0 seconds")
    return seconds


cdef class TlsTransport(Transport):
    """A transport whose connection is made when the TLS handshake is done."""

    cdef Settings settings
    cdef object factory
    cdef object opened  # a client's future of the connection, or None
    cdef object sslobject, tls, incoming, outgoing
    cdef object timer  # of the handshake, later of the shutdown
    cdef bint peer_ended
    cdef object broken  # why nothing more can be decrypted

    cdef object shake_hands(self, Settings settings, factory, opened):
        self.settings = settings
        self.factory = factory
        self.opened = opened
        self.high = maxsize
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.sslobject = settings.context.wrap_bio(
            self.incoming, self.outgoing, server_side=settings.server_side, server_hostname=settings.server_hostname
        )
        self.tls = self.sslobject._sslobj if type(self.sslobject) is ssl.SSLObject else self.sslobject
        self.timer = self.loop.call_later(settings.handshake_timeout, self._handshake_timed_out)
        self._go_on_shaking()
        self.update()

    cdef object _go_on_shaking(self):
        try:
            self.sslobject.do_handshake()
        except ssl.SSLWantReadError:
            self._send_records()
        except ssl.SSLError as error:
            self._send_records()  # the alert
            self.fail(error)
        else:
            self._send_records()
            self._open()

    cdef object _open(self):
        self.timer.cancel()
        self.timer = None
        protocol = self.factory()
        self.start(protocol)
        self.factory = None
        if self.opened is not None and not self.opened.done():
            self.opened.set_result(protocol)
        self.opened = None

    def _handshake_timed_out(self):
        timeout = self.settings.handshake_timeout
        self.fail(ConnectionAbortedError(f"the TLS handshake took longer than {timeout:g} seconds"))

    # Reading

    cdef int receive(self) except -1:
        cdef unsigned char* buffer = self.reactor.buffer
        cdef ssize_t n
        cdef int i
        for i in range(RECEIVES):
            n = c_recv(self.fd, buffer, RECEIVE, 0)
            if n > 0:
                self.incoming.write(PyMemoryView_FromMemory(<char*>buffer, n, PyBUF_READ))
                self._advance()
            elif n == 0:
                self.peer_ended = True
                self._advance()
            elif errno != EAGAIN and errno != EINTR:
                self.fail(os_error())
            if n < RECEIVE or self.lost or not self.reading:
                break
        return 0

    cdef object _advance(self):
        """Do what can be done with what was received."""
        if self.protocol is None:
            if self.peer_ended:
                self.fail(ConnectionResetError("the peer closed the connection during the TLS handshake"))
                return None
            self._go_on_shaking()
            if self.protocol is None:
                return None
        while self._decrypt():
            pass
        if self.lost:
            return None
        self._send_records()  # a new key (RFC 8446 section 4.6.3), or an alert
        if self.broken is not None and not self.closing:
            self.fail(self.broken)
        elif self.peer_ended:
            self._receive_end()

    cdef bint _decrypt(self) except -1:
        """Deliver what fits into the memory where messages are parsed; true if there may be more."""
        cdef Reader reader
        cdef unsigned char* buffer = self.reactor.buffer
        cdef Py_ssize_t room = RECEIVE_BUFFER, size = 0, n
        cdef bint direct = False
        cdef bint more = True
        if self.life is not None and not self.closing:
            reader = (<Life>self.life).session.reader
            direct = reader.direct_room() >= DIRECT
            if direct:
                buffer = <unsigned char*>reader.direct_memory()
                room = reader.direct_room()
        while more and size < room:
            n = self._read(buffer + size, room - size)
            size += n
            # Less than there is room for ends a record. Asking for another one that isn't there costs an exception.
            more = n > 0 and (size == room or self.incoming.pending > 0)
        if size > 0 and not self.closing:
            self.deliver(buffer, size, direct)
        return more and not self.lost

    cdef Py_ssize_t _read(self, unsigned char* memory, Py_ssize_t room) except -1:
        """Decrypt at most one record; 0 if there is none."""
        try:
            n = self.tls.read(room, PyMemoryView_FromMemory(<char*>memory, room, PyBUF_WRITE))
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as error:
            if isinstance(error, ssl.SSLZeroReturnError):
                self.peer_ended = True
            else:
                self.broken = error
                self.peer_ended = True
            return 0
        if n == 0:
            self.peer_ended = True
        return n

    cdef object _receive_end(self):
        if not self.closing:
            self.receive_eof()
            return None
        self.reading = False
        self.update()
        if not self.waiting:
            self.lose(None)

    # Writing

    cdef int transmit(self, list chunks, bint last=False) except -1:
        cdef bytes chunk
        cdef Py_ssize_t size = 0
        if self.lost or self.closing:
            return 0
        for chunk in chunks:
            size += PyBytes_GET_SIZE(chunk)
        if size <= TOGETHER and len(chunks) > 1:
            chunks = [b"".join(chunks)]
        records = []
        try:
            for chunk in chunks:
                self._encrypt(chunk, records)
        except ssl.SSLError as error:
            self.fail(error)
        else:
            Transport.transmit(self, records)
        return 0

    cdef object _encrypt(self, bytes chunk, list records):
        """One record at a time, so that the BIO never holds more: it doesn't give back its memory."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(chunk), sent = 0
        if size <= RECORD:
            sent = self.tls.write(chunk)
            records.append(self.outgoing.read())
        view = memoryview(chunk) if sent < size else None
        while sent < size:
            sent += self.tls.write(view[sent:sent + RECORD])
            records.append(self.outgoing.read())

    cdef object _send_records(self):
        """Send what OpenSSL has to say."""
        if self.outgoing.pending and not self.lost:
            Transport.transmit(self, [self.outgoing.read()])

    def can_write_eof(self):
        return False

    def write_eof(self):
        raise NotImplementedError("TLS has no end of one direction only that all peers know")

    # Closing

    def close(self):
        """Send what is waiting and close_notify, then wait for the peer to do the same."""
        self._write_held()
        if self.closing:
            return
        if self.protocol is None:
            self.abort()
            return
        self.closing = True
        try:
            self.sslobject.unwrap()
        except ssl.SSLError:
            pass  # so it wants to read, or the peer has more to say
        self._send_records()
        if self.lost:
            return
        if self.peer_ended:
            self._receive_end()
            return
        self.reading = True  # and forgetting
        self.update()
        self.timer = self.loop.call_later(self.settings.shutdown_timeout, self.abort)

    def pause_reading(self):
        if not self.closing:
            Transport.pause_reading(self)

    cdef object all_sent(self):
        if self.closing and self.peer_ended:
            self.lose(None)

    cdef object ended(self, error):
        if self.timer is not None:
            self.timer.cancel()
        if self.protocol is not None:
            Transport.ended(self, error)
        elif self.opened is not None and not self.opened.done():
            self.opened.set_exception(error or ConnectionAbortedError("the TLS handshake was aborted"))

    def get_extra_info(self, name, default=None):
        if name == "ssl_object":
            return self.sslobject
        if name == "sslcontext":
            return self.settings.context
        if name == "peercert":
            return self.sslobject.getpeercert()
        if name == "cipher":
            return self.sslobject.cipher()
        if name == "compression":
            return self.sslobject.compression()
        return Transport.get_extra_info(self, name, default)


cdef class TlsListener(Listener):
    """Listens for TLS."""

    cdef Settings settings

    @property
    def _ssl_context(self):
        return self.settings.context

    cdef object accepted(self, int fd, bytes peer):
        cdef TlsTransport transport = TlsTransport()
        self.take_over(transport, fd, peer)
        try:
            transport.shake_hands(self.settings, self.factory, None)
        except BaseException:
            transport.abort()
            raise


async def listen(create, line, factory, *, ssl, ssl_handshake_timeout=None, ssl_shutdown_timeout=None, **kwargs):
    """Like `sockets.listen`, with TLS."""
    settings = Settings(ssl, server_side=True, handshake_timeout=ssl_handshake_timeout,
                        shutdown_timeout=ssl_shutdown_timeout)

    def listener(*arguments):
        cdef TlsListener made = TlsListener(*arguments)
        made.settings = settings
        return made

    return await sockets.listen(create, line, factory, listener=listener, **kwargs)


async def connect(loop, line, factory, unix, *, ssl, server_hostname=None, ssl_handshake_timeout=None,
                  ssl_shutdown_timeout=None, **kwargs):
    """Like `sockets.connect`, with TLS; the connection is returned when the TLS handshake is done.

    Raises:
        ssl.SSLError: the handshake failed, or the server's certificate is no good (`ssl.SSLCertVerificationError`).
        ConnectionError: the server went away, or took too long.
    """
    if server_hostname is None:
        server_hostname = kwargs.get("host")
        if server_hostname is None:
            raise ValueError("server_hostname is missing: without a host, TLS needs it (or \"\" to check no name)")
    settings = Settings(default_context(server_hostname) if ssl is True else ssl, server_side=False,
                        server_hostname=server_hostname or None, handshake_timeout=ssl_handshake_timeout,
                        shutdown_timeout=ssl_shutdown_timeout)
    cdef TlsTransport transport = TlsTransport()
    opened = loop.create_future()
    take_over(transport, loop, line, await sockets.connected_socket(loop, unix, **kwargs))
    try:
        transport.shake_hands(settings, factory, opened)
        return await opened
    except BaseException:
        transport.abort()
        raise


def default_context(server_hostname):
    """What `ssl=True` means, as for `loop.create_connection`."""
    context = ssl.create_default_context()
    if not server_hostname:
        context.check_hostname = False
    return context
