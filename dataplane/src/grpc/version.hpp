#pragma once

#ifndef FERRITE_VERSION
#define FERRITE_VERSION "0.1.0"
#endif

namespace ferrite {

/* As --version, GetVersion and GetState tell it. */
constexpr const char *version = FERRITE_VERSION;

} // namespace ferrite
