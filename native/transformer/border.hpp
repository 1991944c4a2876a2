// The Transformer's class in Python.
#pragma once
#include <nanobind/nanobind.h>

namespace backproof {

void add_transformer(nanobind::module_ &module);

}  // namespace backproof
