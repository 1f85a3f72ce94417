// All kernels for one instruction set. Compiled once per set: QUIRE_LEVEL and QUIRE_NAMESPACE say which.
#include "activation.h"
#include "angles.h"
#include "attention.h"
#include "choose_experts.h"
#include "combine_experts.h"
#include "draw_tokens.h"
#include "first_largest.h"
#include "grouped_linear.h"
#include "kv_write.h"
#include "layer_norm.h"
#include "linear.h"
#include "linear_int4_exact.h"
#include "linear_int4_pack.h"
#include "linear_int8.h"
#include "linear_pack.h"
#include "linear_top.h"
#include "pointwise.h"
#include "probe.h"
#include "rms_norm.h"
#include "rope.h"
#include "rope_kv_write.h"

namespace quire::QUIRE_NAMESPACE {

extern const QuireKernels kernels;
const QuireKernels kernels = {
    .linear_pack = linear_pack,
    .linear_int8_pack = linear_int8_pack,
    .linear_int4_pack = linear_int4_pack,
    .linear = linear,
    .linear_rows = linear_rows,
    .linear_int8 = linear_int8,
    .linear_int8_rows = linear_int8_rows,
    .linear_top = linear_top,
    .linear_int8_top = linear_int8_top,
    .linear_int4 = linear_int4,
    .linear_int4_rows = linear_int4_rows,
    .grouped_linear = grouped_linear,
    .choose_experts = choose_experts,
    .combine_experts = combine_experts,
    .rms_norm = rms_norm,
    .rope = rope,
    .activation = activation,
    .attention = attention,
    .pointwise = pointwise,
    .layer_norm = layer_norm,
    .angles = angles,
    .first_largest = first_largest,
    .draw_tokens = draw_tokens,
    .kv_write = kv_write,
    .rope_kv_write = rope_kv_write,
    .probe = probe,
};

}  // namespace quire::QUIRE_NAMESPACE
