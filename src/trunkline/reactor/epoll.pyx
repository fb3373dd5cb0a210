"""The sockets of an asyncio loop in one epoll, for any loop that has `add_reader`.

An epoll descriptor can be polled itself. A `Reactor` owns one, registers that one with the loop, and when it becomes readable
walks all sockets that are ready. So the loop turns once for a batch of sockets, not once for each, and a stock asyncio loop is
as fast as any other. First it receives and parses what all of them have, then the tasks that wait for it are woken (`Line` of
endpoint/line.py). It receives bytes into one buffer for all connections and parses them in place. It receives a large payload
straight into the object that the application gets. A socket that is alone on its loop, as that of most clients is, is
registered with the loop itself: two epolls, one in the other, take longer to wake up.

Level-triggered, not edge-triggered. Edges would save the `epoll_ctl` calls that follow `pause_reading` and full send buffers, which
are rare. They would cost one more `recv`, to see EAGAIN, wherever a read fills the buffer. For fairness, they would also need a list of
unfinished sockets. With levels, a socket that has more is simply reported again, so each gets one bounded read a batch.

Dangers, and the code that takes care of them:
- an event for a descriptor that was closed, and perhaps reused, earlier in the same batch. `Reactor._on_event` compares the serial
  number that is part of the event;
- a hang-up is always reported, also while reading is paused, and would spin: `Transport.on_event` unregisters it until then;
- a forked child shares the epolls of its parent, also that of the loop: `Reactor.control` and `_choose_polled` leave them alone there;
- running out of descriptors: `Listener.accept_later` tries again after a second.
"""

import weakref
from time import monotonic

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from trunkline.endpoint.carrier cimport Carrier
from trunkline.endpoint.line cimport Line
from trunkline.reactor.system cimport os_error

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
        EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)
    int getpid()

cdef enum:
    BATCH = 256  # events that the kernel is asked for at a time
    BATCHES = 3  # handled in one turn of the loop, because a turn of stock asyncio costs as much as some messages

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

    cdef object give_up(self):
        """An event could not be handled."""

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

    cdef Watched _find_alone(self):
        cdef Watched watched
        if self.count == 1:
            for watched in self.watched:
                if watched is not None and watched.may_be_alone:
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
            watched.give_up()
        return 0

    cdef object _report(self, error):
        self.loop().call_exception_handler({"message": "unexpected error in the reactor", "exception": error})
