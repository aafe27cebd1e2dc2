/* The plugin contract: what crosses between edit-worker and a plugin.
 *
 * A plugin is a shared object that exports one symbol, edit_plugin_entry_v1, and carries one ELF note (see
 * EDIT_PLUGIN_NOTE below) that the host reads before it loads the file. Everything that crosses is plain C: structs
 * that begin with their size and only grow at the end, and bytes. A function that can fail returns 0 on success, else
 * an absl status code, and then error() has the sentence for the user. The host never unloads a plugin.
 *
 * The host serves one job in one process. All host functions may be called from any thread of the plugin, except the
 * output functions, which one thread at a time may call. Memory that the host hands out (names, tensor data, file
 * bytes) is read-only and stays valid until the plugin's call returns.
 *
 * Page: plugins/sdk/ABI.md. Most plugins use the C++ wrapper, editd/plugin.hpp.
 */
#ifndef EDITD_PLUGINS_SDK_PLUGIN_H_
#define EDITD_PLUGINS_SDK_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDIT_ABI_MAJOR 1 /* Another major cannot be loaded. */
#define EDIT_ABI_MINOR 1 /* A host loads plugins of its own minor and of lower ones. */

typedef struct edit_job edit_job; /* Owned by the host. */

typedef struct edit_string {
  const char* data; /* Not terminated. */
  size_t size;
} edit_string;

/* A tensor of an input, or the description of an output's. */
typedef struct edit_tensor {
  uint32_t struct_size;
  uint32_t rank;
  edit_string name;     /* "model.embed_tokens.weight" */
  edit_string dtype;    /* As safetensors names it: "F32", "BF16", ... */
  const int64_t* shape; /* rank numbers, row-major. */
  const void* data;     /* Mapped, 64-byte aligned. NULL while a spec is checked, and in outputs. */
  uint64_t size;        /* Bytes. */
} edit_tensor;

/* A file of an input model, or one that the spec names. */
typedef struct edit_file {
  uint32_t struct_size;
  uint32_t reserved;
  edit_string value; /* What the spec's field holds ("asset:41f0..."); empty for a model's file. */
  edit_string path;  /* What the user wrote, for messages; empty for a model's file. */
  edit_string name;  /* "config.json"; empty for a single file named by a spec. */
  const void* data;  /* Mapped. NULL while a spec is checked. */
  uint64_t size;     /* Bytes. */
} edit_file;

/* An input model. */
typedef struct edit_input {
  uint32_t struct_size;
  uint32_t reserved;
  edit_string role;    /* "base"; may be empty. */
  edit_string name;    /* As the user wrote it, for messages. */
  edit_string version; /* 64 hex digits. */
  size_t tensor_count;
  size_t file_count;
  size_t attribute_count;
} edit_input;

#define EDIT_CHECKPOINT_BYTES (64u << 20)

enum { EDIT_LOG_DEBUG = 1, EDIT_LOG_INFO = 2, EDIT_LOG_WARNING = 3, EDIT_LOG_ERROR = 4 };

/* Host to plugin. Append only. */
typedef struct edit_host_v1 {
  uint32_t struct_size;
  uint32_t abi_major;
  uint32_t abi_minor;
  uint32_t reserved;

  /* The error of the last call on this thread that returned non-zero. */
  const char* (*error)(edit_job*);

  /* --- what the job works on ------------------------------------------------------------------------------------ */
  uint64_t (*seed)(edit_job*);
  uint32_t (*threads)(edit_job*); /* How many the plugin may use, itself included. */
  size_t (*input_count)(edit_job*);
  int (*input)(edit_job*, size_t input, edit_input* out);
  int (*input_tensor)(edit_job*, size_t input, size_t index, edit_tensor* out);
  int (*input_file)(edit_job*, size_t input, size_t index, edit_file* out);
  int (*input_attribute)(edit_job*, size_t input, size_t index, edit_string* key, edit_string* value);
  size_t (*file_count)(edit_job*); /* Files that the spec names. */
  int (*file)(edit_job*, size_t index, edit_file* out);
  /* Tells that `size` bytes at `data` of a mapped input, or of an export_view, are not needed soon: they leave the
   * process's memory and come back from the page cache if read again. */
  void (*release)(edit_job*, const void* data, size_t size);

  /* --- what the job makes --------------------------------------------------------------------------------------- */
  /* Begins a new tensor; exactly its size follows through output_write, in order, in pieces of any size. The host
   * hashes, checks (NaN, infinity) and writes the bytes as they come. Names are unique in a version. */
  int (*output_tensor)(edit_job*, const edit_tensor* description);
  int (*output_write)(edit_job*, const void* data, size_t size);
  /* Takes an input's tensor as it is, under `name`; no byte is copied. */
  int (*output_reuse)(edit_job*, edit_string name, size_t input, size_t index);
  /* A file of the version ("tokenizer.json"), or of the job's result if the plugin makes no version. */
  int (*output_file)(edit_job*, edit_string name, const void* data, size_t size);
  /* Takes an input's file as it is. */
  int (*output_reuse_file)(edit_job*, size_t input, size_t index);
  int (*output_attribute)(edit_job*, edit_string key, edit_string value);
  /* Begins a file for the client to fetch (export); its bytes follow through export_write until the next export_file
   * or the end of run. `name` has no slash. */
  int (*export_file)(edit_job*, edit_string name);
  int (*export_write)(edit_job*, const void* data, size_t size);
  /* The plugin's result: wire bytes of a message of its result_type. At most once. */
  int (*result)(edit_job*, const void* data, size_t size);
  /* The output is wrong (an oracle failed): the job ends as INVALID_OUTPUT with this text. Always returns non-zero. */
  int (*refuse)(edit_job*, edit_string message);

  /* --- meanwhile ------------------------------------------------------------------------------------------------ */
  void (*progress)(edit_job*, edit_string phase, uint64_t done, uint64_t total, edit_string unit);
  void (*log)(edit_job*, int level, edit_string text);
  void (*metric)(edit_job*, edit_string name, double value, int64_t step);
  /* Non-zero: end soon with any error; the job was cancelled or its time is up. */
  int (*should_stop)(edit_job*);

  /* --- while a spec is checked ---------------------------------------------------------------------------------- */
  /* One problem of the spec. `field` is a path below params: "keep.corpus[1].path". */
  void (*finding)(edit_job*, edit_string field, edit_string message);
  /* Host memory (beyond mapped inputs) and disk that run will need, bytes. */
  void (*estimate)(edit_job*, uint64_t memory_bytes, uint64_t disk_bytes);

  /* --- what the job has made, read back -------------------------------------------------------------------------- */
  /* The bytes of an exported file as they lie on disk, mapped. For a file that is complete: after the next export_file,
   * or when nothing more will be written to it. */
  int (*export_view)(edit_job*, edit_string name, const void** data, uint64_t* size);

  /* --- since 1.1 ------------------------------------------------------------------------------------------------- */
  /* A piece of a text that grows while the plugin runs: an answer, token by token. `stream` tells several texts apart
   * (the number of the prompt). It may be called for each token; watchers get whole characters, some twenty times a
   * second. Dropped while a spec is checked. */
  void (*text)(edit_job*, uint32_t stream, edit_string piece);
  /* Keeps `size` bytes, at most EDIT_CHECKPOINT_BYTES, for a later attempt at this job, in place of those kept before:
   * whole or not at all. They outlive a kill of this process and of the daemon. Any thread. */
  int (*checkpoint_save)(edit_job*, const void* data, size_t size);
  /* What an earlier attempt at this job kept, by the same build of the plugin; size 0: nothing that can be used, and
   * the job's log says why. It stays until run returns. */
  int (*checkpoint_load)(edit_job*, const void** data, uint64_t* size);
} edit_host_v1;

enum { EDIT_PLUGIN_MAKES_VERSION = 1 };

/* Plugin to host. Append only. */
typedef struct edit_plugin_v1 {
  uint32_t struct_size;
  uint32_t abi_major;
  uint32_t abi_minor;
  uint32_t flags;
  const char* name;        /* "trim" */
  const char* version;     /* "1.0.0" */
  const char* summary;     /* One line. */
  const char* spec_type;   /* "editd.plugins.trim.v1.TrimSpec" */
  const char* result_type; /* Empty if there is none. */
  const char* example;     /* A commented job spec as text. */
  const void* descriptors; /* A serialised FileDescriptorSet of both types, with imports and comments. */
  size_t descriptors_size;
  uint32_t min_inputs;
  uint32_t max_inputs;
  /* Checks the spec without the inputs' bytes, and estimates. Problems go through finding(); non-zero only if the check
   * itself could not be done. Must be quick: it runs at each submit. */
  int (*check)(edit_job*, const edit_host_v1*, const void* spec, size_t spec_size, char* error, size_t error_size);
  /* Does the job. On failure returns an absl status code with the sentence for the user in `error`, terminated. */
  int (*run)(edit_job*, const edit_host_v1*, const void* spec, size_t spec_size, char* error, size_t error_size);
} edit_plugin_v1;

typedef const edit_plugin_v1* (*edit_plugin_entry)(void);

#define EDIT_PLUGIN_ENTRY "edit_plugin_entry_v1"

/* The note that stands in section .note.editd: vendor "editd", type 1, and this description. */
#define EDIT_NOTE_VENDOR "editd"
#define EDIT_NOTE_TYPE 1
typedef struct edit_note {
  uint32_t abi_major;
  uint32_t abi_minor;
  char name[56]; /* Terminated. */
} edit_note;

#if defined(__GNUC__)
#define EDIT_PLUGIN_NOTE(plugin_name)                                             \
  __attribute__((used, section(".note.editd"), aligned(4))) static const struct { \
    uint32_t vendor_size, description_size, type;                                 \
    char vendor[8];                                                               \
    edit_note description;                                                        \
  } edit_plugin_note = {                                                          \
      6, sizeof(edit_note), EDIT_NOTE_TYPE, EDIT_NOTE_VENDOR, {EDIT_ABI_MAJOR, EDIT_ABI_MINOR, plugin_name}}
#define EDIT_PLUGIN_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
}
#endif
#endif /* EDITD_PLUGINS_SDK_PLUGIN_H_ */
