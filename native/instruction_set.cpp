#include "instruction_set.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace backproof {

namespace baseline { extern const Kernel kernel; }
#ifdef BACKPROOF_X86
namespace avx2 { extern const Kernel kernel; }
namespace avx512 { extern const Kernel kernel; }
#endif

std::vector<const Kernel *> supported_kernels() {
    std::vector<const Kernel *> found;
#ifdef BACKPROOF_X86
    const bool fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw"))
        found.push_back(&avx512::kernel);
    if (fma) found.push_back(&avx2::kernel);
#endif
    found.push_back(&baseline::kernel);
    return found;
}

const Kernel &chosen_kernel() {
    const auto kernels = supported_kernels();
    const char *asked = std::getenv("BACKPROOF_ISA");
    if (!asked || !*asked) return *kernels.front();
    std::string names;
    for (const Kernel *kernel : kernels) {
        if (std::string(asked) == kernel->name) return *kernel;
        names += (names.empty() ? "" : ", ") + std::string(kernel->name);
    }
    throw std::invalid_argument("BACKPROOF_ISA is '" + std::string(asked) + "', but this processor and build have: " + names +
                                "; set it to one of these, or unset it to take the fastest");
}

}  // namespace backproof
