// Attention of a block of queries to the keys and values before them.
//
// Blocks begin at multiples of 64 positions wherever a sequence was cut, and the range of keys that a block's products
// run over follows from the block's place alone. So a position gives the same bits whether its sequence ran at once or
// in parts, beside others or alone.
//
// Thread-safe: functions of their arguments, with a scratch for each thread.
#ifndef EDITD_PLUGINS_LIB_NN_ATTENTION_H_
#define EDITD_PLUGINS_LIB_NN_ATTENTION_H_

#include <cstdint>

#include "plugins/lib/nn/buffer.h"
#include "plugins/lib/nn/config.h"
#include "plugins/lib/nn/kernels.h"
#include "plugins/lib/nn/key_values.h"

namespace editd::nn {

inline constexpr int64_t kAttentionRows = 64;

struct AttentionScratch {
  Buffer scores, weights, result;
};

// One key head and the query heads that share it, for `rows` positions from `first` on, all in one block.
struct AttentionBlock {
  int64_t kv_head;
  int64_t first, rows;
  // The first position's queries, rotated and scaled: heads x head_dim in the compute type, `heads * head_dim` elements
  // a position. Room for a multiple of 32 rows is readable.
  const void* queries;
  void* out;  // As wide as the queries; those heads are written.
};
void Attend(const DecoderConfig& config, const LayerAttention& layer, Compute compute, BlockGemm gemm,
            const KeyValues& memory, const AttentionBlock& block, AttentionScratch* scratch);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_ATTENTION_H_
