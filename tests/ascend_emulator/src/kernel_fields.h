// The fields of the parameter structs of MindSpore's internal kernels (the wheel's include/op_param.h) that an operator's
// computation needs, by name.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "include/op_creator.h"

namespace emulated {

struct Fields {
  std::map<std::string, double> numbers;
  std::map<std::string, std::vector<int64_t>> lists;
};

namespace kernels = mindspore::internal;

template <class T>
void note(Fields &, const T &) {}

inline void note(Fields &f, const kernels::MatmulParam &p) {
  f.numbers = {{"transpose_a", p.transpose_a}, {"transpose_b", p.transpose_b},
               {"with_bias", p.with_bias},     {"with_relu", p.with_relu},
               {"with_gelu", p.with_gelu},     {"enable_dequant", p.enable_dequant},
               {"with_sigmoid_add", p.with_sigmoid_add}};
}
inline void note(Fields &f, const kernels::MultiWeightMatmulParam &p) {
  f.numbers = {{"n0", p.n0_len}, {"n1", p.n1_len}, {"n2", p.n2_len}};
  f.numbers["silu_position"] = p.silu_position;
  f.numbers["with_bias"] = p.with_bias;
  f.numbers["transpose_a"] = p.transpose_a;
  f.numbers["transpose_b"] = p.transpose_b;
}
inline void note(Fields &f, const kernels::MatmulAddRmsNormParam &p) {
  f.numbers = {{"transpose_a", p.transpose_a}, {"transpose_b", p.transpose_b}, {"eps", p.eps}};
}
inline void note(Fields &f, const kernels::NormParam &p) { f.numbers["eps"] = p.eps; }
inline void note(Fields &f, const kernels::AxesParam &p) { f.lists["axes"] = p.axes; }
inline void note(Fields &f, const kernels::GatherParam &p) {
  f.lists["axes"] = p.axes;
  f.numbers["batch_dims"] = static_cast<double>(p.batch_dims);
}
inline void note(Fields &f, const kernels::SwiGLUParam &p) { f.numbers["axis"] = static_cast<double>(p.axis); }
inline void note(Fields &f, const kernels::ApplyRotaryPosEmbParam &p) {
  f.numbers["cos_format"] = p.cos_format;
  f.numbers["rotary_coeff"] = p.rotary_coeff;
}
inline void note(Fields &f, const kernels::SplitParam &p) {
  f.numbers["dim"] = static_cast<double>(p.split_dim);
  f.lists["sizes"].assign(p.split_sizes.begin(), p.split_sizes.end());
}
inline void note(Fields &f, const kernels::MoeInitRoutingParam &p) {
  f.numbers["active_num"] = static_cast<double>(p.active_num);
  f.numbers["expert_num"] = static_cast<double>(p.expert_num);
  f.numbers["capacity"] = static_cast<double>(p.expert_capacity);
  f.numbers["drop_pad"] = static_cast<double>(p.drop_pad_mode);
  f.numbers["count_flag"] = static_cast<double>(p.expert_tokens_count_or_cumsum_flag);
}
// The lengths are values of the host and part of the real kernel's tiling; UpdateParam brings new ones.
inline void note(Fields &f, const kernels::PagedAttentionParam &p) {
  f.numbers["head_num"] = p.head_num;
  f.numbers["kv_head_num"] = p.kv_head_num;
  f.numbers["tor"] = p.tor;
  f.numbers["mask_type"] = p.mask_type;
  f.numbers["mask_mode"] = p.mask_mode;
  f.numbers["quant_mode"] = p.kv_cache_quant_mode;
  f.numbers["has_q_seq_lens"] = p.has_q_seq_lens;
  f.lists["kv_seq_len"].assign(p.kv_seq_len.begin(), p.kv_seq_len.end());
  f.lists["q_seq_len"].assign(p.q_seq_len.begin(), p.q_seq_len.end());
}
inline void note(Fields &f, const kernels::FlashAttentionScoreParam &p) {
  f.numbers["head_num"] = p.head_num;
  f.numbers["layout"] = p.input_layout;
  f.numbers["tor"] = p.tor;
  f.numbers["sparse_mode"] = p.sparse_mode;
}

}  // namespace emulated
