#include "instruction_set.hpp"

#include <cstring>
#include <initializer_list>

#include "../instruction_set.hpp"

namespace backproof {

namespace baseline::transformer { extern const TransformerKernel kernel; }
#ifdef BACKPROOF_X86
namespace avx2::transformer { extern const TransformerKernel kernel; }
namespace avx512::transformer { extern const TransformerKernel kernel; }
#endif

const TransformerKernel &chosen_transformer_kernel() {
#ifdef BACKPROOF_X86
    const char *const name = chosen_kernel().name;
    for (const TransformerKernel *kernel : {&avx512::transformer::kernel, &avx2::transformer::kernel})
        if (std::strcmp(kernel->name, name) == 0) return *kernel;
#else
    chosen_kernel();  // refuses what is not there
#endif
    return baseline::transformer::kernel;
}

}  // namespace backproof
