"""The time of `time.monotonic`, for code that asks for it more often than once in a batch."""

cdef extern from *:
    """
    #ifdef _WIN32
    #include <windows.h>
    static double tl_read_clock(void) {
        LARGE_INTEGER ticks, frequency;
        QueryPerformanceCounter(&ticks);
        QueryPerformanceFrequency(&frequency);
        return (double)ticks.QuadPart / (double)frequency.QuadPart;
    }
    #else
    #include <time.h>
    static double tl_read_clock(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }
    #endif
    """
    double read_clock "tl_read_clock"() noexcept
