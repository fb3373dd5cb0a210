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

/* Mark a function, by its code, as one that returns a coroutine. No other code has seen it before, so nothing depends on the flag. */
static inline void tl_mark(PyObject *code) { ((PyCodeObject *)code)->co_flags |= CO_COROUTINE; }

/* Give an object another type, whose instances have the same fields. */
static inline void tl_become(PyObject *object, PyObject *type) {
    PyTypeObject *former = Py_TYPE(object);
    if (((PyTypeObject *)type)->tp_flags & Py_TPFLAGS_HEAPTYPE)  /* such a type counts its instances */
        Py_INCREF(type);
    Py_SET_TYPE(object, (PyTypeObject *)type);
    if (former->tp_flags & Py_TPFLAGS_HEAPTYPE)
        Py_DECREF(former);
}

/* The class of what is both a coroutine and, for asyncio.isfuture(), a future. It has no instances. */
static inline PyObject *tl_future_coroutine_type(void) {
    static PyTypeObject type = {PyVarObject_HEAD_INIT(NULL, 0).tp_name = "coroutine", .tp_flags = Py_TPFLAGS_DEFAULT};
    if (type.tp_dict == NULL) {
        type.tp_base = &PyCoro_Type;
        type.tp_basicsize = PyCoro_Type.tp_basicsize;
        type.tp_itemsize = PyCoro_Type.tp_itemsize;
        if (PyType_Ready(&type) < 0 || PyDict_SetItemString(type.tp_dict, "_asyncio_future_blocking", Py_None) < 0)
            return NULL;
        PyType_Modified(&type);
    }
    return Py_NewRef((PyObject *)&type);
}
#endif
