// All kernels for one instruction set. Compiled once per set: QUIRE_LEVEL and QUIRE_NAMESPACE say which.
#include "activation.h"
#include "attention.h"
#include "linear.h"
#include "linear_int8.h"
#include "linear_pack.h"
#include "probe.h"
#include "rms_norm.h"
#include "rope.h"

namespace quire::QUIRE_NAMESPACE {

extern const QuireKernels kernels;
const QuireKernels kernels = {
    linear_pack, linear_int8_pack, linear,     linear_rows, linear_int8, linear_int8_rows,
    rms_norm,    rope,             activation, attention,
    probe,
};

}  // namespace quire::QUIRE_NAMESPACE
