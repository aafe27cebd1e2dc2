/* A plugin of the first minor ABI: written in C against the header of 1.0, as one that was never built again. It takes
 * a noop spec that is empty and tells in its log what it was given. */
#include <stdio.h>
#include <string.h>

#include "plugin_1_0.h"

extern const char first_abi_descriptors[], first_abi_descriptors_end[];

EDIT_PLUGIN_NOTE("first_abi");

static edit_string text(const char* s) {
  const edit_string out = {s, strlen(s)};
  return out;
}

static int check(edit_job* job, const edit_host_v1* host, const void* spec, size_t spec_size, char* error,
                 size_t error_size) {
  (void)spec;
  (void)error;
  (void)error_size;
  if (spec_size > 0) host->finding(job, text("echo"), text("a plugin of ABI 1.0 has nothing to echo"));
  host->estimate(job, 1 << 20, 0);
  return 0;
}

static int run(edit_job* job, const edit_host_v1* host, const void* spec, size_t spec_size, char* error,
               size_t error_size) {
  char line[100];
  (void)spec;
  (void)spec_size;
  /* The host's table may have grown at its end; what 1.0 had is where it was. */
  if (host->abi_major != EDIT_ABI_MAJOR || host->struct_size < sizeof(edit_host_v1)) {
    snprintf(error, error_size, "the host's table is shorter than that of ABI 1.0");
    return 9; /* FAILED_PRECONDITION */
  }
  snprintf(line, sizeof(line), "seed %llu, %zu inputs", (unsigned long long)host->seed(job), host->input_count(job));
  host->log(job, EDIT_LOG_INFO, text(line));
  host->progress(job, text("work"), 1, 1, text("steps"));
  return 0;
}

EDIT_PLUGIN_EXPORT const edit_plugin_v1* edit_plugin_entry_v1(void) {
  static edit_plugin_v1 plugin = {.struct_size = sizeof(edit_plugin_v1),
                                  .abi_major = EDIT_ABI_MAJOR,
                                  .abi_minor = EDIT_ABI_MINOR,
                                  .name = "first_abi",
                                  .version = "1.0.0",
                                  .summary = "built for ABI 1.0",
                                  .spec_type = "editd.tests.noop.v1.NoopSpec",
                                  .result_type = "",
                                  .example = "plugin: \"first_abi\"\n",
                                  .descriptors = first_abi_descriptors,
                                  .max_inputs = 1,
                                  .check = check,
                                  .run = run};
  plugin.descriptors_size = (size_t)(first_abi_descriptors_end - first_abi_descriptors);
  return &plugin;
}
