// A function marked so is compiled for several instruction sets, and the loader picks the best one the machine has. Not
// under a sanitizer: the loader would call an instrumented function before the sanitizer is ready.
#ifndef EDITD_PLUGINS_LIB_FORMATS_TARGET_CLONES_H_
#define EDITD_PLUGINS_LIB_FORMATS_TARGET_CLONES_H_

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define EDITD_FOR_EACH_CPU __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#else
#define EDITD_FOR_EACH_CPU
#endif

#endif  // EDITD_PLUGINS_LIB_FORMATS_TARGET_CLONES_H_
