/* base/auto.h - scope cleanup and result checking.
 *
 * AUTO(x) declares a pointer that x_free() takes at the end of the scope; ownership leaves only by
 * TAKE(p). An AUTO variable is set where it is declared; every x_free() takes NULL. */
#ifndef FUSOR_BASE_AUTO_H
#define FUSOR_BASE_AUTO_H

#define AUTO(x) __attribute__((cleanup(x##_freep))) struct x *
#define AUTO_DEFINE(x)                                                                             \
    static inline void x##_freep(struct x **p)                                                     \
    {                                                                                              \
        x##_free(*p);                                                                              \
    }
#define TAKE(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) take_ = (p);                                                                 \
        (p) = NULL;                                                                                \
        take_;                                                                                     \
    })
#define MUST_USE                        __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args)          __attribute__((format(printf, fmt, args)))
#define COUNT_OF(a)                     (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
