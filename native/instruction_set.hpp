// Which of the compiled kernels to use.
#pragma once
#include <vector>

#include "kernel.hpp"

namespace backproof {

// The kernels that this processor can run, the widest first; the last one, "baseline", runs on all of the architecture.
std::vector<const Kernel *> supported_kernels();

// The widest one, or the one that the environment variable BACKPROOF_ISA names. Throws std::invalid_argument if that is
// unknown, or not supported here.
const Kernel &chosen_kernel();

}  // namespace backproof
