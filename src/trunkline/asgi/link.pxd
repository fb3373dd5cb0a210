from trunkline.asyncio.link cimport Link
from trunkline.asyncio.receiving cimport Receive

cpdef object message_of(dict event)

cdef class ASGILink(Link):
    cdef public bint connect_told
    cdef list waiting_receivers
    # Of ASGIConnection: fields of C need no dictionary, which takes more memory than all of them.
    cdef public object app, server, scope, stage, handshake, acceptance, refusal, decided, task
    cdef public object farewell, on_server_closing
    cdef public bint goodbye
