/* A whole plugin in plain C: counts the words of each text. Start your own from a copy of this
 * folder.
 *
 * What it shows: a module and an instance, reading a column of text, handing over a column that it
 * made, a verdict with a reason, a metric, and errors that say what went wrong. Times and
 * randomness come from services, memory of past rows from stores: see sonder/plugin.h. */
#include <stdlib.h>
#include <string.h>

#include "sonder/plugin.h"

/* As the manifest orders them. */
enum { read_text = 0 };
enum { write_words = 0 };
enum { reason_empty = 0 };
enum { metric_words = 0 };

typedef struct module {
  int keep_empty;
} module;

typedef struct instance {
  const module* of;
  const sonder_metrics_service* metrics;
} instance;

static int32_t answer(sonder_error* error, int32_t status, const char* message) {
  strncpy(error->message, message, sizeof error->message - 1);
  error->message[sizeof error->message - 1] = 0;
  return status;
}

/* The host has checked the configuration against the manifest and filled in defaults, so that one
 * boolean can be found by its text. A plugin with more to configure brings a JSON parser. */
static int has_true(sonder_string json, const char* member) {
  const size_t size = strlen(member);
  for (uint64_t i = 0; i + size <= json.size; ++i) {
    if (memcmp(json.data + i, member, size) == 0) return 1;
  }
  return 0;
}

static int32_t module_create(const sonder_host* host, const sonder_module_args* args, void** made,
                             sonder_error* error) {
  (void)host;
  module* m = malloc(sizeof *m);
  if (m == NULL) return answer(error, SONDER_FATAL, "out of memory");
  m->keep_empty = has_true(args->config_json, "\"keep_empty\":true");
  *made = m;
  return SONDER_OK;
}

static void module_destroy(void* m) {
  free(m);
}

static int32_t instance_create(void* m, const sonder_host* host, void** made, sonder_error* error) {
  instance* i = malloc(sizeof *i);
  if (i == NULL) return answer(error, SONDER_FATAL, "out of memory");
  i->of = m;
  i->metrics = host->service(host, "metrics/1");
  if (i->metrics == NULL) {
    free(i);
    return answer(error, SONDER_FATAL, "the host does not grant metrics/1");
  }
  *made = i;
  return SONDER_OK;
}

static void instance_destroy(void* i) {
  free(i);
}

static int64_t count_words(const char* text, int32_t size) {
  int64_t words = 0;
  int inside = 0;
  for (int32_t i = 0; i < size; ++i) {
    const int space = text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r';
    words += !space && !inside;
    inside = !space;
  }
  return words;
}

/* One int64 column that owns its values: the Arrow C data interface at its smallest. */
typedef struct words_column {
  const void* buffers[2]; /* no validity bitmap: nothing is null */
  int64_t values[];
} words_column;

static void release_words(struct ArrowArray* array) {
  free(array->private_data);
  array->release = NULL;
}

static int32_t process(void* self, const sonder_batch* batch, sonder_output* output,
                       sonder_error* error) {
  const instance* i = self;
  const struct ArrowArray* texts = batch->array->children[read_text];
  const int64_t first = batch->array->offset + texts->offset;
  const int32_t* offsets = (const int32_t*)texts->buffers[1] + first;
  const char* bytes = texts->buffers[2];

  words_column* made = malloc(sizeof *made + (size_t)batch->rows * sizeof(int64_t));
  if (made == NULL) {
    error->retry_after_ms = 1000;
    return answer(error, SONDER_RETRY, "out of memory");
  }
  double words = 0;
  for (int64_t row = 0; row < batch->rows; ++row) {
    made->values[row] = count_words(bytes + offsets[row], offsets[row + 1] - offsets[row]);
    words += (double)made->values[row];
    if (made->values[row] == 0 && !i->of->keep_empty) {
      output->verdicts[row] = SONDER_DROP;
      output->reasons[row] = reason_empty;
    }
  }
  i->metrics->add(i->metrics->ctx, metric_words, 0, words);

  made->buffers[0] = NULL;
  made->buffers[1] = made->values;
  output->columns[write_words] = (struct ArrowArray){.length = batch->rows,
                                                     .n_buffers = 2,
                                                     .buffers = made->buffers,
                                                     .release = release_words,
                                                     .private_data = made};
  return SONDER_OK;
}

const sonder_plugin* sonder_plugin_entry(void) {
  static const sonder_plugin table = {
      .struct_size = sizeof(sonder_plugin),
      .abi_major = SONDER_ABI_MAJOR,
      .abi_minor = SONDER_ABI_MINOR,
      .module_create = module_create,
      .module_destroy = module_destroy,
      .instance_create = instance_create,
      .instance_destroy = instance_destroy,
      .process = process,
  };
  return &table;
}
