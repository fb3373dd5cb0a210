/* Tell inspect.signature() how a compiled type is called: it reads that at the beginning of the docstring, which hides it. */
#ifndef TRUNKLINE_SIGNATURE_H
#define TRUNKLINE_SIGNATURE_H

#include <Python.h>
#include <string.h>

static inline int tl_sign(PyObject *type, const char *parameters) {
    PyTypeObject *t = (PyTypeObject *)type;
    const char *dot = strrchr(t->tp_name, '.');
    PyObject *doc = PyBytes_FromFormat("%s(%s)\n--\n\n%s", dot == NULL ? t->tp_name : dot + 1, parameters,
                                       t->tp_doc == NULL ? "" : t->tp_doc);
    if (doc == NULL)
        return -1;
    t->tp_doc = PyBytes_AS_STRING(doc); /* for as long as the type: for ever */
    return 0;
}
#endif
