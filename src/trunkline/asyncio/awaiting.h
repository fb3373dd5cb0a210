/* Answer an await without raising StopIteration, which costs more than all the rest of it.
 *
 * CPython 3.11 awaits through am_send, 3.12 and later through tp_iternext where None is sent; both slots have a way to return a
 * result that Cython's __next__ hasn't. */
#ifndef TRUNKLINE_AWAITING_H
#define TRUNKLINE_AWAITING_H

#include <Python.h>
#include <string.h>

typedef int (*tl_send)(PyObject *, PyObject *, PyObject **);
typedef PyObject *(*tl_next)(PyObject *);

static inline void tl_install(PyObject *type, tl_send send, tl_next next) {
    PyTypeObject *t = (PyTypeObject *)type;
    t->tp_as_async->am_send = (sendfunc)send;
    t->tp_iternext = next;
    PyType_Modified(t);
}

/* End an iteration: without an exception for None, which every caller of tp_iternext understands. */
static inline PyObject *tl_stop(PyObject *value) {
    if (value != Py_None)
        PyErr_SetObject(PyExc_StopIteration, value);
    return NULL;
}

/* Leave the current context, and return it; NULL if there is none. */
static inline PyObject *tl_leave_context(void) {
    PyObject *context = PyThreadState_Get()->context;
    if (context == NULL)
        return NULL;
    Py_INCREF(context);
    if (PyContext_Exit(context) == 0)
        return context;
    PyErr_Clear();
    Py_DECREF(context);
    return NULL;
}

/* Enter again what tl_leave_context returned. */
static inline void tl_enter_context(PyObject *context) {
    if (context == NULL)
        return;
    if (PyContext_Enter(context) < 0)
        PyErr_WriteUnraisable(context);
    Py_DECREF(context);
}

/* Whether a callback is the one with which a task of asyncio waits for a future. */
static inline int tl_wakes_task(PyObject *callback) {
    return PyCFunction_CheckExact(callback) &&
           strcmp(((PyCFunctionObject *)callback)->m_ml->ml_name, "task_wakeup") == 0;
}
#endif
