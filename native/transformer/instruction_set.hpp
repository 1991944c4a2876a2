// The Transformer's arithmetic for the instruction set that was chosen (../instruction_set.hpp).
#pragma once
#include "kernel.hpp"

namespace backproof {

const TransformerKernel &chosen_transformer_kernel();

}  // namespace backproof
