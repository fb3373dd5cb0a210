"""Transports for TCP and Unix sockets on the reactor; tls.pyx adds TLS."""

import os
import socket
from asyncio.trsock import TransportSocket

from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject_GenericSetAttr
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t

from trunkline.core.phases cimport CONNECTING
from trunkline.core.reader cimport Reader
from trunkline.core.session cimport Session
from trunkline.endpoint.life cimport Life
from trunkline.endpoint.line cimport AT_ONCE
from trunkline.reactor.epoll cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, RECEIVE_BUFFER, Reactor, Watched
from trunkline.reactor.system cimport c_recv, os_error, own_address, parse_address, send_chunks, size_of

cdef extern from "<sys/socket.h>" nogil:
    int c_shutdown "shutdown"(int fd, int how)
    enum:
        MSG_MORE, SHUT_WR


cdef extern from *:
    """
    /* Cython makes a dict with each object; without one, setting the first attribute makes it. */
    static void tl_drop_dict(PyObject *o) {
        PyObject **dict = _PyObject_GetDictPtr(o);
        if (dict != NULL && *dict != NULL && PyDict_GET_SIZE(*dict) == 0)
            Py_CLEAR(*dict);
    }
    """
    void drop_empty_dict "tl_drop_dict"(object o)


cdef class Transport(Watched):
    """An `asyncio.Transport` that is the carrier of a `Life`, too."""

    def __cinit__(self):
        self.may_be_alone = True

    def __setattr__(self, name, value):
        PyObject_GenericSetAttr(self, name, value)
        if name == "write":
            self.write_replaced = True

    cdef object register(self, Reactor reactor, object loop, int fd):
        """Take over a connected socket."""
        self.reactor = reactor
        self.loop = loop
        self.fd = fd
        self.reading = True
        drop_empty_dict(self)
        reactor.add(self)

    cdef object start(self, object protocol):
        self._adopt(protocol)
        protocol.connection_made(self)
        self.update()

    cdef object _adopt(self, object protocol):
        """Hand to a protocol what comes from now on; to a `Life`, without a copy."""
        self.protocol = protocol
        self.life = protocol if isinstance(protocol, Life) else None

    # Reading

    cdef int on_event(self, uint32_t events) except -1:
        if events & EPOLLOUT:
            self._send_waiting()
        if self.fd < 0 or self.lost:
            return 0
        if self.reading:
            if events & (EPOLLIN | EPOLLHUP | EPOLLERR):
                self.receive()
        elif events & (EPOLLHUP | EPOLLERR):
            self.watch(0)  # resume_reading() will find out
        return 0

    cdef int receive(self) except -1:
        """Receive once, into the object that the application gets if there is one already."""
        cdef unsigned char* buffer = self.reactor.buffer
        cdef Py_ssize_t size = RECEIVE_BUFFER
        cdef Reader reader
        cdef bint direct = False
        cdef ssize_t n
        if self.life is not None:
            reader = (<Life>self.life).session.reader
            direct = reader.direct_room() >= DIRECT
            if direct:
                buffer = <unsigned char*>reader.direct_memory()
                size = reader.direct_room()
        n = c_recv(self.fd, buffer, size, 0)
        if n > 0:
            self.deliver(buffer, n, direct)
        elif n == 0:
            self.receive_eof()
        elif errno != EAGAIN and errno != EINTR:
            self.fail(os_error())
        return 0

    cdef int deliver(self, const unsigned char* data, Py_ssize_t n, bint direct) except -1:
        """Hand received bytes to the connection; `direct` if they are in the memory of its reader."""
        cdef Life life = <Life>self.life
        cdef Session session
        if life is None:
            self.protocol.data_received(PyBytes_FromStringAndSize(<const char*>data, n))
            return 0
        session = life.session
        session.now = self.reactor.now
        if direct:
            session.receive_direct(n)
        else:
            session.receive_memory(data, n)
        if session.attention:
            life.attend()
        if n > AT_ONCE or self.reactor.alone is self:
            self.reactor.line.wake(life)
        else:
            self.reactor.line.put(life)
        return 0

    cdef object receive_eof(self):
        self.reading = False
        self.update()
        if not self.protocol.eof_received():
            self.close()

    def pause_reading(self):
        self.reading = False
        self.update()

    def resume_reading(self):
        if not self.closing:
            self.reading = True
            self.update()

    def is_reading(self):
        return self.reading

    cdef object update(self):
        """Wait for what there is to do."""
        if not self.lost:
            self.watch((EPOLLIN if self.reading else 0) | (EPOLLOUT if self.waiting else 0))

    # Writing

    def write(self, bytes data not None):
        self._write_held()
        self.transmit([data])

    def writelines(self, list chunks not None):
        self._write_held()
        self.transmit(chunks)

    cdef int transmit(self, list chunks, bint last=False) except -1:
        """Send chunks; `last` says that the end of the stream follows at once, and can share their packet."""
        cdef Py_ssize_t size, sent
        if self.lost:
            return 0
        if self.eof_wanted:
            raise RuntimeError("Cannot call write() after write_eof()")  # as asyncio's own transports say it
        size = size_of(chunks)
        if self.waiting is not None:
            self.waiting.extend(chunks)
            self.waiting_size += size
            self._limit_waiting()
            return 0
        sent = send_chunks(self.fd, chunks, 0, MSG_MORE if last else 0)
        if sent < 0:
            self.fail(os_error())
        elif sent < size:
            self.waiting = chunks[:]  # those of a broadcast are shared
            self.waiting_size = size
            self._drop_sent(sent)
            self.update()
            self._limit_waiting()
        return 0

    cdef int _drop_sent(self, Py_ssize_t sent) except -1:
        """So much of what waits is on its way."""
        cdef Py_ssize_t i = 0, size
        self.waiting_size -= sent
        sent += self.waiting_start
        while i < len(self.waiting):
            size = PyBytes_GET_SIZE(<bytes>self.waiting[i])
            if sent < size:
                break
            sent -= size
            i += 1
        self.waiting_start = sent
        if i > 0:
            del self.waiting[:i]
        if not self.waiting:
            self.waiting = None
        return 0

    cdef int _limit_waiting(self) except -1:
        if self.waiting_size > self.high and not self.writing_paused:
            self.writing_paused = True
            self.protocol.pause_writing()
        return 0

    cdef object _send_waiting(self):
        cdef Py_ssize_t sent
        if self.waiting is None:
            return None
        sent = send_chunks(self.fd, self.waiting, self.waiting_start, 0)
        if sent < 0:
            self.fail(os_error())
            return None
        self._drop_sent(sent)
        self.update()
        if self.writing_paused and self.waiting_size <= self.low:
            self.writing_paused = False
            self.protocol.resume_writing()
        if not self.waiting:
            self.all_sent()

    cdef object all_sent(self):
        if self.closing:
            self.lose(None)
        elif self.eof_wanted:
            c_shutdown(self.fd, SHUT_WR)

    def set_write_buffer_limits(self, high=None, low=None):
        if high is None:
            high = 65536 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not 0 <= low <= high:
            raise ValueError(f"write buffer limits are high={high!r}, low={low!r}: they must be 0 <= low <= high")
        self.high = high
        self.low = low

    def get_write_buffer_limits(self):
        return self.low, self.high

    def get_write_buffer_size(self):
        return self.waiting_size

    def can_write_eof(self):
        return True

    def write_eof(self):
        self._write_held()
        if self.eof_wanted or self.closing:
            return
        self.eof_wanted = True
        if not self.waiting and self.fd >= 0:
            c_shutdown(self.fd, SHUT_WR)

    # Closing

    def is_closing(self):
        return self.closing

    def close(self):
        """Send what is waiting, then close."""
        self._write_held()
        if self.closing:
            return
        self.closing = True
        self.reading = False
        self.update()
        if not self.waiting:
            self.lose(None)

    def abort(self):
        """Close at once."""
        self._write_held()
        self.closing = True
        self.lose(None)

    cdef object _write_held(self):
        """Frames that wait in their connection were sent before the call that is about to do something to the socket."""
        cdef Life life = <Life>self.life
        if life is not None and (life.gathered or life is self.reactor.line.holder):
            life.flush()

    cdef object give_up(self):
        self.abort()

    cdef object fail(self, error):
        """The socket broke."""
        self.closing = True
        self.lose(error)

    cdef object lose(self, error):
        """The end. The connection hears of it in the next turn, never inside of a call of its own."""
        if self.lost:
            return None
        self.watch(0)
        self.lost = True
        self.reading = False
        self.waiting = None
        self.waiting_size = self.waiting_start = 0
        self.loop.call_soon(self._close, error)

    def _close(self, error):
        if self.fd < 0:
            return
        if self.sock is not None:
            self.sock.close()
        self.own = own_address(self.fd)
        self.reactor.remove(self)
        self.ended(error)

    cdef object ended(self, error):
        protocol = self.protocol
        self.protocol = self.life = None  # it refers to us: without the cycle both are freed when nothing else does
        protocol.connection_lost(error)

    # As a carrier

    cdef object carry(self, list chunks, bint last):
        try:
            if self.write_replaced:  # in programs that record or drop what is sent
                self.write(b"".join(chunks))
            else:
                self.transmit(chunks, last)
        except Exception as error:
            return error
        return None

    def send(self, list chunks, bint last):
        return self.carry(chunks, last)

    def end(self):
        if (<Life>self.life).session.eof_received or not self.can_write_eof():
            self.close()
        else:
            self.write_eof()

    def can_half_close(self):
        return self.can_write_eof()

    def pause(self):
        self.pause_reading()

    def resume(self):
        self.resume_reading()

    def backlog(self):
        return self.waiting_size

    def wake_at(self, double deadline):
        return self.reactor.line.wake_at(self.life, deadline)

    def fact(self, name):
        return self if name == "transport" else self.get_extra_info(name)

    # Facts about the socket

    def get_extra_info(self, name, default=None):
        if name == "peername":
            return default if self.peer is None else parse_address(self.peer)
        if name == "sockname":
            own = self.own if self.fd < 0 else own_address(self.fd)
            return default if own is None else parse_address(own)
        if name == "socket" and (self.fd >= 0 or self.sock is not None):
            self._write_held()
            return TransportSocket(self._socket())
        return default

    cdef object _socket(self):
        """A socket object of the same socket: it has a descriptor of its own, so that ours can't be closed under us."""
        if self.sock is None:
            self.sock = socket.socket(fileno=os.dup(self.fd))
        return self.sock

    def get_protocol(self):
        return self.protocol

    def set_protocol(self, protocol):
        if self.life is not None and (<Life>self.life).session.phase != CONNECTING:
            raise RuntimeError("a transport of the reactor keeps its connection; use engine='transports' to replace it")
        self._adopt(protocol)
