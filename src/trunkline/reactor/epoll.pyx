"""Transports for TCP and Unix sockets, in compiled code, for any asyncio loop that has `add_reader`; tls.pyx adds TLS.

An epoll descriptor can be polled itself. A `Reactor` owns one, registers that one with the loop, and when it becomes readable
walks all sockets that are ready. So the loop turns once for a batch of sockets, not once for each, and a stock asyncio loop is
as fast as any other. First it receives and parses what all of them have, then the tasks that wait for it are woken (`Line` of
endpoint/line.py). Bytes are received into one buffer for all connections and parsed in place; a large payload is received
straight into the object that the application gets. A socket that is alone on its loop, as that of most clients is, is
registered with the loop itself: two epolls, one in the other, take longer to wake up.

Level-triggered, not edge-triggered. Edges would save the `epoll_ctl` calls that follow `pause_reading` and full send buffers, which
are rare. They would cost one more `recv`, to see EAGAIN, wherever a read fills the buffer, and a list of sockets left unfinished
for the sake of fairness. With levels, a socket that has more is simply reported again, so each gets one bounded read a batch.

What could go wrong, and where it is taken care of:
- an event for a descriptor that was closed, and perhaps reused, earlier in the same batch: `Reactor._on_event` compares the serial
  number that is part of the event;
- a hang-up is always reported, also while reading is paused, and would spin: `Transport.on_event` unregisters it until then;
- a forked child shares the epolls of its parent, also that of the loop: `Reactor.control` and `_choose_polled` leave them alone there;
- running out of descriptors: `Listener.accept_later` tries again after a second.
"""

import asyncio
import errno as errnos
import os
import socket
import sys
import weakref
from asyncio.trsock import TransportSocket
from time import monotonic

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject_GenericSetAttr
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from trunkline.core.phases cimport CONNECTING
from trunkline.core.reader cimport Reader
from trunkline.core.session cimport Session
from trunkline.endpoint.carrier cimport Carrier
from trunkline.endpoint.life cimport Life
from trunkline.endpoint.line cimport AT_ONCE, Line

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int operation, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)
    enum:
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    ctypedef unsigned int socklen_t
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
    int getsockname(int fd, sockaddr* address, socklen_t* size)
    int getpeername(int fd, sockaddr* address, socklen_t* size)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)
    int c_shutdown "shutdown"(int fd, int how)
    ssize_t c_send "send"(int fd, const void* buffer, size_t size, int flags)
    enum:
        SOCK_NONBLOCK, SOCK_CLOEXEC, MSG_NOSIGNAL, MSG_MORE, SHUT_WR, AF_INET, AF_INET6

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t c_sendmsg "sendmsg"(int fd, const msghdr* message, int flags)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)
    int getpid()

cdef enum:
    BATCH = 256  # events that the kernel is asked for at a time
    BATCHES = 3  # handled in one turn of the loop, because a turn of stock asyncio costs as much as some messages
    COALESCE = 16384  # up to so much is copied together, to leave in one buffer
    VECTORS = 64
    ACCEPTS = 128  # connections accepted in one turn

# Loop -> weak reference to its reactor, which its sockets keep alive, and its loop until that is closed. The sockets refer to
# the loop: a strong reference here would keep a loop that was closed with open connections, and their descriptors, for ever.
_reactors = weakref.WeakKeyDictionary()


cdef Reactor reactor_of(loop, Line line):
    """The reactor of a loop, made when it is needed; `line` is that of the loop."""
    reference = _reactors.get(loop)
    cdef Reactor reactor = None if reference is None else reference()
    if reactor is None or reactor.epoll < 0:
        reactor = Reactor(loop, line)
        _reactors[loop] = weakref.ref(reactor)
    return reactor


cdef class Watched(Carrier):
    """A descriptor in a reactor. Only a `Transport` carries anything: in C, inheritance has one line."""

    def __cinit__(self):
        self.fd = -1

    def __dealloc__(self):
        if self.fd >= 0:
            c_close(self.fd)

    cdef int on_event(self, uint32_t events) except -1:
        raise NotImplementedError

    cdef int watch(self, uint32_t interest) except -1:
        """Change what is waited for; 0 for nothing, hang-ups included."""
        cdef int operation
        if interest == self.interest or self.fd < 0:
            return 0
        if self.interest == 0:
            operation = EPOLL_CTL_ADD
        elif interest == 0:
            operation = EPOLL_CTL_DEL
        else:
            operation = EPOLL_CTL_MOD
        self.reactor.control(operation, self, interest)
        self.interest = interest
        if self.reactor.alone is self:
            self.reactor._choose_polled()
        return 0


cdef class Reactor:
    """All sockets of one event loop."""

    def __cinit__(self):
        self.epoll = -1
        self.buffer = <unsigned char*>malloc(RECEIVE_BUFFER)
        if self.buffer == NULL:
            raise MemoryError

    def __init__(self, loop, Line line):
        self.loop = weakref.ref(loop)
        self.line = line
        self.pid = getpid()
        self.watched = []
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise os_error()
        self.polled = self.epoll
        loop.add_reader(self.epoll, self.on_ready)

    def __dealloc__(self):
        if self.epoll >= 0:
            c_close(self.epoll)
        free(self.buffer)

    cdef object add(self, Watched watched):
        self.next_serial += 1
        watched.serial = self.next_serial
        while len(self.watched) <= watched.fd:
            self.watched.append(None)
        self.watched[watched.fd] = watched
        self.count += 1
        self.alone = self._find_alone()
        self._choose_polled()

    cdef object _choose_polled(self):
        """Let the loop watch a lonely socket itself: through two epolls, waking up takes the system longer."""
        cdef int wanted = self.epoll
        if self.alone is not None and self.alone.interest == EPOLLIN:
            wanted = self.alone.fd
        if wanted == self.polled or getpid() != self.pid:
            return None
        loop = self.loop()
        if loop is None or loop.is_closed():
            return None
        loop.remove_reader(self.polled)
        loop.add_reader(wanted, self.on_ready)
        self.polled = wanted

    cdef Transport _find_alone(self):
        if self.count == 1:
            for watched in self.watched:
                if isinstance(watched, Transport):
                    return watched
        return None

    cdef object remove(self, Watched watched):
        """Forget a descriptor and close it. The last one takes the reactor along."""
        watched.watch(0)
        self.watched[watched.fd] = None
        self.count -= 1
        self.alone = self._find_alone()
        self._choose_polled()
        c_close(watched.fd)
        watched.fd = -1
        if self.count == 0:
            self._close()

    cdef object _close(self):
        loop = self.loop()
        if loop is not None and not loop.is_closed():
            loop.remove_reader(self.epoll)
        c_close(self.epoll)
        self.epoll = -1

    cdef object control(self, int operation, Watched watched, uint32_t interest):
        cdef epoll_event event
        if getpid() != self.pid or self.epoll < 0:
            return None
        event.events = interest
        event.data.u64 = <uint64_t>watched.serial << 32 | <uint32_t>watched.fd
        if epoll_ctl(self.epoll, operation, watched.fd, &event) < 0:
            raise os_error()

    def on_ready(self):
        """Called by the event loop, which means that no task is running."""
        cdef int batch
        self.now = monotonic()
        self.line.note_mode()
        if self.alone is not None:  # as most clients are: there is nothing to ask
            self._handle(self.alone, self.alone.interest)
            return
        for batch in range(BATCHES):
            if self._handle_batch() == 0 or self.alone is not None:
                return

    cdef int _handle_batch(self) except -1:
        """Handle what there is; return the number of events."""
        cdef epoll_event events[BATCH]
        cdef int i, n
        n = epoll_wait(self.epoll, events, BATCH, 0) if self.epoll >= 0 else 0
        for i in range(n):
            self._on_event(events[i].data.u64, events[i].events)
        self.line.wake_all()
        return max(n, 0)

    cdef int _on_event(self, uint64_t key, uint32_t events) except -1:
        cdef Watched watched = self.watched[<int><uint32_t>key]
        if watched is not None and watched.serial == <uint32_t>(key >> 32):
            self._handle(watched, events)
        # else it was closed earlier in this batch, and perhaps reused
        return 0

    cdef int _handle(self, Watched watched, uint32_t events) except -1:
        try:
            watched.on_event(events)
        except Exception as error:
            self._report(error)
            if isinstance(watched, Transport):
                (<Transport>watched).abort()
        return 0

    cdef object _report(self, error):
        self.loop().call_exception_handler({"message": "unexpected error in the reactor", "exception": error})


cdef class Transport(Watched):
    """An `asyncio.Transport` that is the carrier of a `Life`, too."""

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
        cdef Life holder = self.reactor.line.holder
        if holder is not None and holder is self.life:
            holder.flush()

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

    # What is known of the socket

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


cdef Py_ssize_t send_chunks(int fd, list chunks, Py_ssize_t start, int flags):
    """Send as much as the socket takes of what follows the first `start` bytes, which are less than the first chunk.

    Returns how much that was, or -1 with errno set.
    """
    cdef Py_ssize_t n = len(chunks)
    cdef ssize_t sent
    cdef bytes chunk
    if n == 1:
        chunk = chunks[0]
        sent = c_send(fd, PyBytes_AS_STRING(chunk) + start, PyBytes_GET_SIZE(chunk) - start, flags | MSG_NOSIGNAL)
    else:
        sent = send_many(fd, chunks, n, start, flags | MSG_NOSIGNAL)
    if sent < 0 and (errno == EAGAIN or errno == EINTR):
        return 0
    return sent


cdef ssize_t send_many(int fd, list chunks, Py_ssize_t n, Py_ssize_t start, int flags):
    """Small chunks are copied together, large ones are gathered by the kernel."""
    cdef char together[COALESCE]
    cdef iovec vectors[VECTORS]
    cdef msghdr message
    cdef Py_ssize_t size = 0, i
    cdef bytes chunk
    for i in range(n):
        chunk = chunks[i]
        if size + PyBytes_GET_SIZE(chunk) > COALESCE:
            break
        memcpy(together + size, PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk))
        size += PyBytes_GET_SIZE(chunk)
    else:
        return c_send(fd, together + start, size - start, flags)
    n = min(n, <Py_ssize_t>VECTORS)
    for i in range(n):
        chunk = chunks[i]
        vectors[i].iov_base = PyBytes_AS_STRING(chunk)
        vectors[i].iov_len = PyBytes_GET_SIZE(chunk)
    vectors[0].iov_base = <char*>vectors[0].iov_base + start
    vectors[0].iov_len -= start
    memset(&message, 0, sizeof(message))
    message.msg_iov = vectors
    message.msg_iovlen = n
    return c_sendmsg(fd, &message, flags)


cdef Py_ssize_t size_of(list chunks):
    cdef Py_ssize_t size = 0
    cdef bytes chunk
    for chunk in chunks:
        size += PyBytes_GET_SIZE(chunk)
    return size


# Listening

cdef class Socket(Watched):
    """A listening socket; descriptors are duplicates, so that closing either one leaves the other alone."""

    cdef int on_event(self, uint32_t events) except -1:
        cdef sockaddr_storage address
        cdef socklen_t size
        cdef int fd, i
        for i in range(ACCEPTS):
            size = sizeof(address)
            fd = accept4(self.fd, <sockaddr*>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.listener.accepted(fd, PyBytes_FromStringAndSize(<char*>&address, size))
            elif errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                self.listener.accept_later(self, os_error())
                break
            elif errno != ECONNABORTED and errno != EINTR:
                break
        return 0

    cdef object close(self):
        if self.fd >= 0:
            self.reactor.remove(self)


cdef class Listener:
    """Listens on the sockets of an asyncio server, in its stead; see `asyncio.Server` for the methods."""

    def __init__(self, loop, Line line, factory, server, backlog):
        self.loop = loop
        self.line = line
        self.factory = factory
        self.server = server
        self.backlog = backlog
        self.listening = []

    @property
    def sockets(self):
        return () if self.closed else self.server.sockets

    @property
    def _ssl_context(self):
        # By this name of asyncio's, programs ask whether a server is one of wss://.
        return None

    def is_serving(self):
        return bool(self.listening)

    async def start_serving(self):
        cdef Reactor reactor = reactor_of(self.loop, self.line)
        cdef Socket watched
        for sock in self.sockets:
            watched = Socket()
            watched.listener = self
            watched.reactor = reactor
            watched.fd = os.dup(sock.fileno())
            set_no_delay(watched.fd, own_address(watched.fd))  # accepted sockets inherit it: tcp(7)
            if self.backlog is not None:
                listen_on(watched.fd, self.backlog)
            reactor.add(watched)
            watched.watch(EPOLLIN)
            self.listening.append(watched)

    def close(self):
        cdef Socket watched
        for watched in self.listening:
            watched.close()
        self.listening = []
        self.closed = True
        self.server.close()

    cdef object accepted(self, int fd, bytes peer):
        try:
            protocol = self.factory()
        except BaseException:
            c_close(fd)
            raise
        cdef Transport transport = self.take_over(Transport(), fd, peer)
        try:
            transport.start(protocol)
        except BaseException:
            transport.abort()
            raise

    cdef Transport take_over(self, Transport transport, int fd, bytes peer):
        """Let a transport take over an accepted socket."""
        transport.peer = peer
        transport.register(reactor_of(self.loop, self.line), self.loop, fd)
        return transport

    cdef object accept_later(self, Socket watched, error):
        self.loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": error})
        watched.watch(0)
        self.loop.call_later(1, self._accept_again, watched)

    def _accept_again(self, Socket watched):
        watched.watch(EPOLLIN)


async def listen(create, line, factory, *, backlog, listener=Listener, start_serving=True, **kwargs):
    """Let asyncio make the listening sockets, with all its options, and accept on them.

    Args:
        create: `loop.create_server` or `loop.create_unix_server`.
        line: the `Line` of the loop.
        factory: makes an `asyncio.Protocol` for each connection.
        backlog: connections that may wait until they are accepted; None leaves a socket alone that listens already.
    """
    server = await create(asyncio.Protocol, start_serving=False, **kwargs)
    made = listener(asyncio.get_running_loop(), line, factory, server, backlog)
    if start_serving:
        await made.start_serving()
    return made


# Connecting

async def connect(loop, line, factory, unix, **kwargs):
    """Connect a socket and return the `asyncio.Protocol` that `factory` makes for it."""
    sock = await connected_socket(loop, unix, **kwargs)
    cdef Transport transport = Transport()
    protocol = factory()
    take_over(transport, loop, line, sock)
    transport.start(protocol)
    return protocol


def adopt(loop, line, protocol, sock):
    """Carry a connection whose socket something else has carried so far."""
    cdef Transport transport = Transport()
    take_over(transport, loop, line, sock)
    transport.start(protocol)


async def connected_socket(loop, unix, *, sock=None, path=None, host=None, port=None, family=0, proto=0, flags=0,
                           local_addr=None):
    """A non-blocking socket; for the arguments see `loop.create_connection` and `loop.create_unix_connection`."""
    if sock is None and unix:
        sock = await _connect_one(loop, socket.AF_UNIX, socket.SOCK_STREAM, 0, os.fspath(path), None)
    elif sock is None:
        sock = await _connect_any(loop, host, port, family, proto, flags, local_addr)
    sock.setblocking(False)
    return sock


async def _connect_any(loop, host, port, family, proto, flags, local_addr):
    """Try the addresses of a host one after the other."""
    infos = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags)
    local = None if local_addr is None else await _local_addresses(loop, local_addr, family, proto, flags)
    errors = []
    for info_family, kind, info_proto, _, address in infos:
        try:
            return await _connect_one(loop, info_family, kind, info_proto, address, local)
        except OSError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise OSError(f"connecting to {host} port {port} failed: " + ", ".join(map(str, errors)))


async def _local_addresses(loop, local_addr, family, proto, flags):
    """The addresses that a client may bind, as pairs of family and address; None for the host means any."""
    host, port = local_addr[:2]
    infos = await loop.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags | socket.AI_PASSIVE
    )
    return [(info_family, address) for info_family, _, _, _, address in infos]


def _bind(sock, local):
    """Bind the first address of the socket's family that can be had."""
    error = OSError(errnos.EADDRNOTAVAIL, f"no local address of family {sock.family.name}")
    for family, address in local:
        if family == sock.family:
            try:
                return sock.bind(address)
            except OSError as failure:
                error = failure
    raise error


async def _connect_one(loop, family, kind, proto, address, local):
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if local is not None:
            _bind(sock, local)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


cdef object take_over(Transport transport, loop, Line line, sock):
    """Let a transport take over a connected socket."""
    transport.peer = peer_address(sock.fileno())
    fd = sock.detach()
    set_no_delay(fd, transport.peer)
    transport.register(reactor_of(loop, line), loop, fd)


# System calls

cdef extern from "<sys/socket.h>" nogil:
    int c_listen "listen"(int fd, int backlog)


cdef object listen_on(int fd, int backlog):
    if c_listen(fd, backlog) < 0:
        raise os_error()


cdef object os_error():
    """The OSError of errno, of the subclass that fits."""
    return OSError(errno, os.strerror(errno))


cdef object set_no_delay(int fd, bytes address):
    """A message shall leave now, not when the last one was acknowledged (Nagle's algorithm)."""
    cdef int on = 1
    if family_of(address) in (AF_INET, AF_INET6):
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))


cdef bytes own_address(int fd):
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    return None if getsockname(fd, <sockaddr*>&address, &size) < 0 else PyBytes_FromStringAndSize(<char*>&address, size)


cdef bytes peer_address(int fd):
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    return None if getpeername(fd, <sockaddr*>&address, &size) < 0 else PyBytes_FromStringAndSize(<char*>&address, size)


cdef int family_of(bytes address):
    cdef unsigned short family = 0
    if address is not None and PyBytes_GET_SIZE(address) >= 2:
        memcpy(&family, PyBytes_AS_STRING(address), 2)
    return family


cdef object parse_address(bytes address):
    """A `sockaddr` as the socket module would show it."""
    cdef int family = family_of(address)
    if family == AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[4:8]), int.from_bytes(address[2:4], "big")
    if family == AF_INET6:
        return (
            socket.inet_ntop(socket.AF_INET6, address[8:24]),
            int.from_bytes(address[2:4], "big"),
            int.from_bytes(address[4:8], "big"),
            int.from_bytes(address[24:28], sys.byteorder),  # the scope is kept in host order
        )
    path = address[2:]
    return path if path[:1] == b"\0" else os.fsdecode(path.rstrip(b"\0"))
